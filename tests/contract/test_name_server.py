"""What a check may expect of DNS: the adapter before a real dnsmasq, and the double that stands in for it elsewhere."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from stack.dnsmasq import Dnsmasq, Record
from stack.stack import running
from tests.doubles.name_server import TableNameServer
from worker.adapters.network.dns import DnsLookups
from worker.domain.probe import LookupOutcome, RecordType
from worker.operations.mailbox_check.ports import NameServer

Serve = Callable[..., Awaitable[NameServer]]


@pytest.fixture(params=["double", "dnsmasq"])
async def serve(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Serve]:
    """Makes a name server of these records: name, type, value."""
    async with AsyncExitStack() as stack:

        async def dnsmasq(*records: tuple[str, str, str]) -> NameServer:
            server = Dnsmasq(tmp_path, [Record(*record) for record in records])
            await stack.enter_async_context(running(server))
            return DnsLookups(server.address)

        async def double(*records: tuple[str, str, str]) -> NameServer:
            return TableNameServer(*records)

        yield double if request.param == "double" else dnsmasq


async def test_records_of_every_type_are_found(serve: Serve) -> None:
    names = await serve(
        ("acme.example", "MX", "10 mx.acme.example"),
        ("acme.example", "TXT", "v=spf1 mx -all"),
        ("mx.acme.example", "A", "192.0.2.1"),
        ("mx.acme.example", "AAAA", "2001:db8::1"),
        ("1.2.0.192.in-addr.arpa", "PTR", "mx.acme.example"),
    )
    for name, kind, expected in (
        ("acme.example", RecordType.MX, "10 mx.acme.example."),
        ("acme.example", RecordType.TXT, "v=spf1 mx -all"),
        ("mx.acme.example", RecordType.A, "192.0.2.1"),
        ("mx.acme.example", RecordType.AAAA, "2001:db8::1"),
        ("1.2.0.192.in-addr.arpa", RecordType.PTR, "mx.acme.example."),
    ):
        found = await names.ask(name, kind)
        assert (found.outcome, found.records) == (LookupOutcome.FOUND, (expected,))


async def test_an_alias_of_an_internal_name_is_not_there(tmp_path: Path) -> None:
    """If a customer's name is an alias of a name inside, then the check does not tell whether that is there."""
    records = [
        Record("redis.default.svc", "A", "10.0.0.7"),
        Record("mx.acme.example", "A", "192.0.2.1"),
        Record("alias.evil.example", "CNAME", "redis.default.svc"),
        Record("alias.acme.example", "CNAME", "mx.acme.example"),
    ]
    async with running(server := Dnsmasq(tmp_path, records)):
        names = DnsLookups(server.address)
        for kind in (RecordType.A, RecordType.TXT, RecordType.MX):
            assert (await names.ask("alias.evil.example", kind)).outcome is LookupOutcome.NO_NAME
        assert (await names.ask("alias.acme.example", RecordType.A)).records == ("192.0.2.1",)
        assert (await names.ask("alias.acme.example", RecordType.TXT)).outcome is LookupOutcome.NO_RECORDS


async def test_a_long_text_is_joined_without_anything_between_its_strings(serve: Serve) -> None:
    """If a DKIM key is cut into strings of 255 characters, then it is whole again here."""
    text = 'k=rsa; p="' + "QUJD" * 200
    names = await serve(("key.acme.example", "TXT", text))
    assert (await names.ask("key.acme.example", RecordType.TXT)).records == (text,)


async def test_the_null_mail_exchanger_is_a_dot(serve: Serve) -> None:
    names = await serve(("acme.example", "MX", "0 ."))
    assert (await names.ask("acme.example", RecordType.MX)).records == ("0 .",)


async def test_a_name_that_is_not_there_and_one_without_such_records_are_told_apart(serve: Serve) -> None:
    names = await serve(("acme.example", "A", "192.0.2.1"))
    assert (await names.ask("nobody.example", RecordType.A)).outcome is LookupOutcome.NO_NAME
    assert (await names.ask("acme.example", RecordType.AAAA)).outcome is LookupOutcome.NO_RECORDS
    assert (await names.ask("acme.example", RecordType.AAAA)).is_void


async def test_case_and_the_root_dot_make_no_difference(serve: Serve) -> None:
    names = await serve(("acme.example", "A", "192.0.2.1"))
    assert (await names.ask("ACME.example.", RecordType.A)).records == ("192.0.2.1",)


@pytest.mark.parametrize("name", ["a..b.example", "x" * 64 + ".example", "a." * 127 + "example"])
async def test_a_name_that_no_zone_can_have_does_not_exist(serve: Serve, name: str) -> None:
    """If a customer's record names nonsense, then that is the record's trouble and nobody's crash."""
    names = await serve()
    assert (await names.ask(name, RecordType.A)).outcome is LookupOutcome.NO_NAME

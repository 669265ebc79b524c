"""Name servers that do not answer, and how the address of one is written."""

import pytest

from stack.ports import free_ports
from worker.adapters.network import dns
from worker.adapters.network.dns import DnsLookups
from worker.domain.probe import LookupOutcome, RecordType


async def test_if_nobody_answers_the_lookup_fails_and_nothing_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "ANSWER_S", 0.2)
    [port] = free_ports(1)
    names = DnsLookups(f"127.0.0.1:{port}")
    assert (await names.ask("acme.example", RecordType.MX)).outcome is LookupOutcome.FAILED


@pytest.mark.parametrize("server", ["127.0.0.1", "127.0.0.1:5353", "::1", "[::1]", "[::1]:53"])
def test_a_name_server_is_given_by_address_and_port(server: str) -> None:
    DnsLookups(server)


@pytest.mark.parametrize("server", ["ns.example", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x", "127.1", "[::1]:"])
def test_anything_else_is_refused(server: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        DnsLookups(server)

"""Names that only the operator's network knows: nobody is told whether they are there."""

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import ip_address

import pytest

from tests.doubles.resolver import TableResolver
from worker.adapters.network.dns import DnsLookups
from worker.adapters.network.egress import Aliased, DialError, EgressGuard, SystemResolver
from worker.domain.egress import SMTP_PORTS, EgressPolicy, parse_allowlist
from worker.domain.hosts import parse_host
from worker.domain.internal_names import is_internal_name, parse_zones
from worker.domain.probe import LookupOutcome, RecordType
from worker.domain.transmission import FailureKind
from worker.errors import ConfigurationError
from worker.settings import load_settings

INSIDE = [
    "redis",
    "localhost",
    "a.localhost",
    "redis.default.svc",
    "redis.default.svc.cluster.local",
    "db.local",
    "printer.lan",
    "nas.localdomain",
    "dc01.corp",
    "router.home.arpa",
    "metadata.google.internal",
    "ip-10-0-0-1.ec2.internal",
    "vm.internal.cloudapp.net",
    "host.docker.internal",
    "vault.service.consul",
    "vm.novalocal",
    "1.0.0.10.in-addr.arpa",
    "hidden.onion",
    "x.invalid",
]


@pytest.mark.parametrize("name", INSIDE)
@pytest.mark.parametrize("spelling", ["{}", "{}.", "UPPER", "ＦＵＬＬ"])
def test_internal_names_are_known_in_every_spelling(name: str, spelling: str) -> None:
    written = spelling.format(name)
    if spelling == "UPPER":
        written = name.upper()
    if spelling == "ＦＵＬＬ":
        written = "".join(chr(ord(c) + 0xFEE0) if c.isascii() and c != "." else c for c in name).replace(".", "。")
    parsed = parse_host(written)
    assert isinstance(parsed, str)
    assert parsed == name
    assert is_internal_name(parsed)


@pytest.mark.parametrize("name", ["smtp.gmail.com", "local.example", "internal.example.com", "svc.example", "db.prod"])
def test_names_of_the_world_are_not(name: str) -> None:
    assert not is_internal_name(name)


def test_an_operator_names_further_zones() -> None:
    zones = parse_zones("office.example, .Staging.Example. ,внутри.example")
    assert zones == {"office.example", "staging.example", "xn--b1amomjf.example"}
    assert is_internal_name("db.office.example", zones)
    assert is_internal_name("office.example", zones)
    assert not is_internal_name("myoffice.example", zones)
    assert parse_zones(" ") == frozenset()


@pytest.mark.parametrize("text", ["a..b", "10.0.0.1", "a,", "*.corp.example", "corp/example"])
def test_a_mistake_in_the_zones_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDAS_INTERNAL_ZONES", text)
    with pytest.raises(ConfigurationError, match="SENDAS_INTERNAL_ZONES: '"):
        load_settings().egress  # noqa: B018 - read for its error


class NobodyAsks(TableResolver):
    async def addresses(self, name: str) -> Sequence[str]:
        raise AssertionError(f"{name} was looked up")


@pytest.mark.parametrize("name", INSIDE)
async def test_without_an_exception_nothing_inside_is_looked_up(name: str) -> None:
    """If the operator allows nothing inside, then the answer to every internal name is the same, and takes no time."""
    with pytest.raises(DialError) as caught:
        await EgressGuard(EgressPolicy(), NobodyAsks()).vetted(name, 587, SMTP_PORTS, 5)
    assert (caught.value.fault, str(caught.value)) == (FailureKind.EGRESS, _refusal(name))


def _refusal(name: str) -> str:
    return f"{name} is a name of an internal network: nothing is there that may be connected to"


class Silent(TableResolver):
    async def addresses(self, name: str) -> Sequence[str]:
        await asyncio.Event().wait()
        raise AssertionError


def _answering(*answers: Sequence[str] | OSError) -> TableResolver:
    resolver = TableResolver()
    resolver.set("redis.default.svc", *answers)
    return resolver


@pytest.mark.parametrize(
    "resolver",
    [
        _answering(["10.0.0.7"]),
        _answering(["10.0.0.7", "169.254.169.254"]),
        _answering(["10.1.0.7"]),
        _answering([]),
        _answering(["no address"]),
        _answering(socket.gaierror(socket.EAI_NONAME, "x")),
        _answering(socket.gaierror(socket.EAI_AGAIN, "x")),
        _answering(OSError(24, "x")),
        Silent(),
    ],
    ids=["there", "metadata", "allowed on another port", "empty", "rubbish", "not there", "failed", "error", "silent"],
)
async def test_with_an_exception_there_is_one_answer_at_one_time(resolver: TableResolver) -> None:
    """If a customer names a service of the cluster, then neither words nor time tell whether it is there."""
    policy = EgressPolicy(parse_allowlist("10.1.0.0/16:25,192.168.7.0/24"))
    guard = EgressGuard(policy, resolver, inside_s=0.2)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    with pytest.raises(DialError) as caught:
        await guard.vetted("redis.default.svc", 587, SMTP_PORTS, timeout_s=30)
    assert (caught.value.fault, str(caught.value)) == (FailureKind.DNS, _refusal("redis.default.svc"))
    assert 0.2 <= loop.time() - began_s < 5


async def test_what_the_operator_allows_inside_is_reached_at_once() -> None:
    guard = EgressGuard(EgressPolicy(parse_allowlist("10.0.0.0/24:587")), _answering(["10.0.0.7"]), inside_s=3_600)
    assert await guard.vetted("redis.default.svc", 587, SMTP_PORTS, 5) == [ip_address("10.0.0.7")]


async def test_the_operators_own_hosts_are_not_hidden() -> None:
    guard = EgressGuard(EgressPolicy(is_operators=True), _answering(socket.gaierror(socket.EAI_NONAME, "x")))
    with pytest.raises(DialError, match="there is no host"):
        await guard.vetted("redis.default.svc", 443, frozenset(), 5)


def _alias(*addresses: str) -> TableResolver:
    resolver = TableResolver()
    resolver.set("smtp.evil.example", Aliased(addresses))
    return resolver


@pytest.mark.parametrize("addresses", [["10.0.0.7"], ["10.0.0.7", "fd00::7"], ["169.254.169.254"], ["::1"]])
async def test_an_alias_of_something_inside_looks_like_one_of_nothing(addresses: list[str]) -> None:
    """If a customer's own name is an alias of a service of the cluster, then they do not learn whether it is there."""
    nothing = TableResolver()
    nothing.set("smtp.evil.example", socket.gaierror(socket.EAI_NONAME, "x"))
    said = []
    for resolver in (_alias(*addresses), nothing):
        with pytest.raises(DialError) as caught:
            await EgressGuard(EgressPolicy(), resolver).vetted("smtp.evil.example", 587, SMTP_PORTS, 5)
        said.append((caught.value.fault, str(caught.value)))
    assert said[0] == said[1]


async def test_an_alias_of_a_public_name_is_like_any_other() -> None:
    guard = EgressGuard(EgressPolicy(), _alias("10.0.0.7", "93.184.216.34"))
    assert await guard.vetted("smtp.evil.example", 587, SMTP_PORTS, 5) == [ip_address("93.184.216.34")]
    with pytest.raises(DialError, match="port 26 is not one of"):
        await EgressGuard(EgressPolicy(), _alias("93.184.216.34")).vetted("smtp.evil.example", 26, SMTP_PORTS, 5)
    allowed = EgressGuard(EgressPolicy(parse_allowlist("10.0.0.7")), _alias("10.0.0.7"))
    assert await allowed.vetted("smtp.evil.example", 587, SMTP_PORTS, 5) == [ip_address("10.0.0.7")]


@pytest.mark.parametrize(
    ("canonical", "is_alias"), [("smtp.example", False), ("SMTP.Example", False), ("", False), ("redis.svc", True)]
)
async def test_the_systems_resolver_says_what_is_an_alias(
    monkeypatch: pytest.MonkeyPatch, canonical: str, is_alias: bool
) -> None:
    def answer(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, canonical, ("10.0.0.7", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    resolver = SystemResolver(max_threads=1)
    try:
        assert isinstance(await resolver.addresses("smtp.example"), Aliased) is is_alias
    finally:
        resolver.close()


@pytest.mark.parametrize(("is_absolute", "asked"), [(True, "smtp.example."), (False, "smtp.example")])
async def test_a_customers_name_is_the_whole_name(
    monkeypatch: pytest.MonkeyPatch, is_absolute: bool, asked: str
) -> None:
    """If the pod has search domains, then no customer's name is looked for in them."""
    names: list[str] = []

    def answer(name: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        names.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("93.184.216.34", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    resolver = SystemResolver(max_threads=1, is_absolute=is_absolute)
    try:
        await EgressGuard(EgressPolicy(), resolver).vetted("smtp.example.", 587, SMTP_PORTS, 5)
    finally:
        resolver.close()
    assert names == [asked]


@pytest.mark.parametrize("kind", [kind for kind in RecordType if kind is not RecordType.PTR])
@pytest.mark.parametrize(
    "name",
    [
        *INSIDE,
        "REDIS.default.SVC.",
        "redis\\.default.svc",
        "\\108ocal",
        "db.ｌｏｃａｌ",
        "db。local",
        "db.office.example",
    ],
)
async def test_a_check_asks_no_name_server_about_internal_names(name: str, kind: RecordType) -> None:
    """If a customer's domain or SPF record names a service of the cluster, then the check does not tell of it."""
    lookups = DnsLookups("127.0.0.1:1", frozenset({"office.example"}))  # to ask there would fail
    assert (await lookups.ask(name, kind)).outcome is LookupOutcome.NO_NAME

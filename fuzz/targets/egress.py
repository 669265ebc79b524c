"""Hosts as customers write them, what resolvers answer, and allowlists: one line each."""

import asyncio
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

from fuzz.target import Target
from fuzz.virtual_loop import VirtualLoop
from fuzz.words import check_shown
from worker.adapters.network.egress import DialError, EgressGuard
from worker.domain.egress import SMTP_PORTS, EgressPolicy, parse_allowlist, special_range
from worker.domain.hosts import parse_host
from worker.domain.transmission import FailureKind

_LOOP = VirtualLoop()
_MAX_ADDRESSES = 8


class _Resolver:
    """Answers what the input says."""

    def __init__(self, answers: Sequence[str]) -> None:
        self._answers = answers

    async def addresses(self, name: str) -> Sequence[str]:
        assert name == parse_host(name), "a name that would be read differently a second time"
        assert not name.replace(".", "").isdigit(), "an address in disguise was looked up"
        await asyncio.sleep(0)
        return self._answers


def check(data: bytes) -> None:
    """Without an allowlist nothing but public addresses is let through, whatever the name and the answers."""
    host, answers, allowlist = [*data.decode("utf-8", "replace").split("\n", 2), "", ""][:3]
    _LOOP.run(_check_vetted(host, answers.split()))
    try:
        rules = parse_allowlist(allowlist)
    except ValueError:
        return
    for rule in rules:
        port = min(rule.ports, default=1)
        assert EgressPolicy((rule,)).refusal(rule.network[0], port, frozenset()) is None


async def _check_vetted(host: str, answers: Sequence[str]) -> None:
    guard = EgressGuard(EgressPolicy(), _Resolver(answers))
    try:
        vetted = await guard.vetted(host, 587, SMTP_PORTS, 5.0)
    except DialError as error:
        assert error.fault in (FailureKind.EGRESS, FailureKind.DNS)
        check_shown(str(error))
        return
    assert 1 <= len(vetted) <= _MAX_ADDRESSES
    for address in vetted:
        assert isinstance(address, IPv4Address | IPv6Address)
        assert special_range(address) is None
        assert address.is_global or address in _NAT64, address


class _Prefix:
    def __contains__(self, address: object) -> bool:
        return isinstance(address, IPv6Address) and int(address) >> 32 == 0x64FF9B << 72


_NAT64 = _Prefix()

TARGET = Target(
    check,
    tokens=(
        *(
            b"127.0.0.1",
            b"::ffff:127.0.0.1",
            b"64:ff9b::7f00:1",
            b"2130706433",
            b"0177.0.0.1",
            b"0x7f.1",
            b"[::1]",
            b"%eth0",
        ),
        *(
            b"fe80::1",
            b"10.1.2.0/24:25+587",
            b"[fd00::/8]:465",
            b"0.0.0.0/0",
            b"xn--",
            "。".encode(),
            "１".encode(),
            b"@",
        ),
        *(b"169.254.169.254", b"8.8.8.8", b"2001:4860:4860::8888", b"smtp.acme.example"),
    ),
    max_input_bytes=1024,
)

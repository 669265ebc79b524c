"""What the egress guard lets through, and what it does not: a table of attacks, then the rest of its behaviour."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

from tests.doubles.resolver import TableResolver
from worker.adapters.network.egress import DialError, EgressGuard, SystemResolver
from worker.delivery.places import Holder, act_for
from worker.domain.egress import HTTPS_PORTS, IMAP_PORTS, SMTP_PORTS, EgressPolicy, parse_allowlist
from worker.domain.transmission import FailureKind

PUBLIC = "93.184.216.34"
PUBLIC_V6 = "2606:2800:220:1::1"

ATTACKS_BY_ADDRESS = {
    "loopback": "127.0.0.1",
    "loopback, another of its addresses": "127.8.9.10",
    "this host": "0.0.0.0",
    "private 10": "10.0.0.1",
    "private 172.16, first": "172.16.0.0",
    "private 172.16, last": "172.31.255.255",
    "private 192.168": "192.168.1.1",
    "link-local": "169.254.1.1",
    "metadata of AWS, Google and Azure": "169.254.169.254",
    "metadata of AWS containers": "169.254.170.2",
    "metadata of Alibaba, in carrier-grade NAT": "100.100.100.200",
    "metadata of Oracle": "192.0.0.192",
    "wire server of Azure": "168.63.129.16",
    "carrier-grade NAT": "100.64.0.1",
    "carrier-grade NAT, last": "100.127.255.255",
    "benchmarking, first": "198.18.0.0",
    "AS112": "192.175.48.1",
    "AMT relay": "192.52.193.1",
    "protocol assignment": "192.0.0.8",
    "this network": "0.1.2.3",
    "multicast, last": "239.255.255.255",
    "reserved, last but broadcast": "255.255.255.254",
    "documentation 1": "192.0.2.1",
    "documentation 2": "198.51.100.1",
    "documentation 3": "203.0.113.1",
    "benchmarking": "198.19.0.1",
    "6to4 relay": "192.88.99.1",
    "multicast": "224.0.0.1",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "loopback, IPv6": "::1",
    "unspecified, IPv6": "::",
    "IPv4-mapped loopback": "::ffff:127.0.0.1",
    "IPv4-mapped metadata": "::ffff:a9fe:a9fe",
    "IPv4-compatible loopback": "::127.0.0.1",
    "NAT64 of loopback": "64:ff9b::127.0.0.1",
    "NAT64 of metadata": "64:ff9b::a9fe:a9fe",
    "local NAT64": "64:ff9b:1::808:808",
    "6to4 of loopback": "2002:7f00:1::1",
    "Teredo": "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "unique-local": "fd12:3456::1",
    "metadata of AWS, IPv6": "fd00:ec2::254",
    "resolver of AWS, IPv6": "fd00:ec2::253",
    "metadata of Google, IPv6": "fd20:ce::254",
    "IPv4-mapped private": "::ffff:10.0.0.1",
    "IPv4-mapped public": "::ffff:93.184.216.34",
    "IPv4-mapped, written out": "0:0:0:0:0:ffff:7f00:1",
    "IPv4-compatible metadata": "::a9fe:a9fe",
    "NAT64 of private": "64:ff9b::10.0.0.1",
    "NAT64 of carrier-grade NAT": "64:ff9b::6440:1",
    "NAT64 of broadcast": "64:ff9b::255.255.255.255",
    "6to4 of private": "2002:a00:1::1",
    "6to4 of metadata": "2002:a9fe:a9fe::1",
    "6to4 of public": "2002:5db8:d822::1",
    "Teredo of loopback": "2001:0:7f00:1::1",
    "ISATAP in unique-local": "fd00::5efe:7f00:1",
    "link-local, last": "febf::1",
    "multicast, all nodes": "ff05::1",
    "AS112, IPv6": "2620:4f:8000::1",
    "link-local, IPv6": "fe80::1",
    "link-local with a zone": "fe80::1%lo",
    "loopback with a zone": "::1%lo",
    "site-local": "fec0::1",
    "multicast, IPv6": "ff02::1",
    "documentation, IPv6": "2001:db8::1",
    "documentation, IPv6, the new range": "3fff::1",
    "benchmarking, IPv6": "2001:2::1",
    "ORCHID": "2001:20::1",
    "discard-only": "100::1",
    "segment routing": "5f00::1",
    "outside of what was ever given out": "4000::1",
    "IBM's resolver": "161.26.0.10",
    "IBM's services, last": "161.26.255.255",
    "IBM's endpoints, first": "166.8.0.0",
    "IBM's endpoints, last": "166.11.255.255",
    "Google's private APIs": "199.36.153.8",
    "Google's private APIs, last": "199.36.153.11",
    "Google's restricted APIs": "199.36.153.4",
    "Google's private access": "34.126.0.1",
    "Google's private APIs, IPv6": "2600:2d00:2:2000::1",
    "Google's restricted APIs, IPv6": "2600:2d00:2:1000::1",
    "Google's private access, IPv6": "2001:4860:8040::1",
    "Tencent's resolver": "183.60.83.19",
    "Tencent's other resolver": "183.60.82.98",
    "metadata of Tencent": "169.254.0.23",
    "metadata of Equinix": "192.80.8.124",
    "metadata of Scaleway": "169.254.42.42",
    "metadata of Scaleway, IPv6": "fd00:42::42",
    "metadata of Oracle, IPv6": "fd00:c1::a9fe:a9fe",
    "metadata of Linode, IPv6": "fd00:a9fe:a9fe::1",
    "metadata of Alibaba, IPv6": "fd00:100::100:200",
    "metadata of OpenStack, IPv6": "fe80::a9fe:a9fe",
    "agents of AWS pods": "169.254.170.23",
    "agents of AWS pods, IPv6": "fd00:ec2::23",
    "NAT64 of IBM's endpoints": "64:ff9b::166.8.1.1",
    "IPv4-mapped Google APIs": "::ffff:199.36.153.8",
    "6to4 of IBM's services": "2002:a11a:a::1",
}

ODD_SPELLINGS = {
    "decimal": ("2130706433", FailureKind.EGRESS),
    "octal": ("0177.0.0.1", FailureKind.EGRESS),
    "octal, all in one": ("017700000001", FailureKind.EGRESS),
    "hexadecimal": ("0x7f000001", FailureKind.EGRESS),
    "hexadecimal in parts": ("0x7f.0x0.0x0.0x1", FailureKind.EGRESS),
    "short": ("127.1", FailureKind.EGRESS),
    "leading zeros": ("127.000.000.001", FailureKind.EGRESS),
    "zero alone": ("0", FailureKind.EGRESS),
    "too large a part": ("127.0.0.256", FailureKind.EGRESS),
    "five parts": ("127.0.0.0.1", FailureKind.EGRESS),
    "a trailing dot": ("127.0.0.1.", FailureKind.EGRESS),
    "a short form with a trailing dot": ("127.1.", FailureKind.EGRESS),
    "brackets": ("[::1]", FailureKind.EGRESS),
    "full-width digits": ("１２７.０.０.１", FailureKind.EGRESS),
    "circled digits": ("①②⑦.⓪.⓪.①", FailureKind.EGRESS),
    "ideographic dots": ("127。0。0。1", FailureKind.EGRESS),
    "octal, padded": ("0177.0000.0000.0001", FailureKind.EGRESS),
    "octal and hexadecimal": ("0177.0x0.0.1", FailureKind.EGRESS),
    "decimal that overflows": ("4294967297", FailureKind.EGRESS),
    "hexadecimal that overflows": ("0x17f000001", FailureKind.EGRESS),
    "hexadecimal, upper case": ("0X7F000001", FailureKind.EGRESS),
    "hexadecimal, no digits": ("127.0.0.0x", FailureKind.EGRESS),
    "short, two parts": ("10.1", FailureKind.EGRESS),
    "metadata, decimal": ("2852039166", FailureKind.EGRESS),
    "metadata, octal": ("0251.0376.0251.0376", FailureKind.EGRESS),
    "metadata, short": ("169.254.43518", FailureKind.EGRESS),
    "zero-width space at the end": ("127.0.0.1\u200b", FailureKind.EGRESS),
    "zero-width joiner inside": ("127.0\u200d.0.1", FailureKind.DNS),
    "soft hyphens": ("127\u00ad.0.0\u00ad.1", FailureKind.EGRESS),
    "full-width dots": ("127．0．0．1", FailureKind.EGRESS),
    "half-width ideographic dots": ("127｡0｡0｡1", FailureKind.EGRESS),
    "superscripts": ("¹²⁷.⁰.⁰.¹", FailureKind.EGRESS),
    "mathematical digits": ("𝟙𝟚𝟟.𝟘.𝟘.𝟙", FailureKind.EGRESS),
    "Arabic digits": ("١٢٧.٠.٠.١", FailureKind.DNS),
    "mapped in brackets": ("[::ffff:127.0.0.1]", FailureKind.EGRESS),
    "in full width": ("［：：１］", FailureKind.EGRESS),
    "a zone in a URL": ("[fe80::1%25eth0]", FailureKind.DNS),
    "a zone by number": ("fe80::1%1", FailureKind.DNS),
    "a fragment": ("127.0.0.1#@smtp.example", FailureKind.DNS),
    "a query": ("127.0.0.1?smtp.example", FailureKind.DNS),
    "a semicolon": ("127.0.0.1;smtp.example", FailureKind.DNS),
    "a tab": ("127.0.0.1\tsmtp.example", FailureKind.DNS),
    "a plus": ("+127.0.0.1", FailureKind.DNS),
    "a minus": ("-1", FailureKind.DNS),
    "an overlong IPv6": ("0:0:0:0:0:0:0:0:1", FailureKind.DNS),
    "two trailing dots": ("127.0.0.1..", FailureKind.DNS),
    "brackets around IPv4": ("[127.0.0.1]", FailureKind.DNS),
    "a bracket too few": ("[::1", FailureKind.DNS),
    "percent-encoded": ("127%2e0%2e0%2e1", FailureKind.DNS),
    "a zone": ("fe80::1%eth0", FailureKind.DNS),
    "a port in the host": ("127.0.0.1:25", FailureKind.DNS),
    "a path": ("smtp.example/@127.0.0.1", FailureKind.DNS),
    "user information": ("smtp.example@127.0.0.1", FailureKind.DNS),
    "a NUL": ("smtp.example\x00.internal", FailureKind.DNS),
    "a space": ("127.0.0.1 smtp.example", FailureKind.DNS),
    "a line break": ("smtp.example\r\nX: y", FailureKind.DNS),
    "a backslash": ("127.0.0.1\\smtp.example", FailureKind.DNS),
    "empty": ("", FailureKind.DNS),
    "a dot": (".", FailureKind.DNS),
    "a label too long": ("a" * 64 + ".example", FailureKind.DNS),
    "a name too long": ("a." * 127 + "example", FailureKind.DNS),
    "not valid IDN": ("xn--\u0644a.example", FailureKind.DNS),
}


def guard(resolver: TableResolver | None = None, allow: str = "") -> EgressGuard:
    return EgressGuard(EgressPolicy(parse_allowlist(allow)), resolver or TableResolver())


async def fault_of(tested: EgressGuard, host: str, port: int = 587, ports: frozenset[int] = SMTP_PORTS) -> DialError:
    with pytest.raises(DialError) as caught:
        await tested.vetted(host, port, ports, timeout_s=5)
    return caught.value


@pytest.mark.parametrize("address", ATTACKS_BY_ADDRESS.values(), ids=ATTACKS_BY_ADDRESS.keys())
class TestSpecialAddresses:
    async def test_a_name_that_resolves_to_it_is_refused(self, address: str) -> None:
        resolver = TableResolver()
        resolver.set("smtp.evil.example", [address])
        error = await fault_of(guard(resolver), "smtp.evil.example")
        assert error.fault is FailureKind.EGRESS
        assert address not in str(error), "the customer is not to learn what a name means inside"

    async def test_written_as_the_host_it_is_refused_without_a_look_up(self, address: str) -> None:
        resolver = TableResolver()
        error = await fault_of(guard(resolver), address)
        assert error.fault in (FailureKind.EGRESS, FailureKind.DNS)
        assert resolver.asked == []


@pytest.mark.parametrize(("host", "fault"), ODD_SPELLINGS.values(), ids=ODD_SPELLINGS.keys())
async def test_odd_spelling_is_refused_without_a_look_up(host: str, fault: FailureKind) -> None:
    resolver = TableResolver()
    error = await fault_of(guard(resolver), host)
    assert error.fault is fault
    assert resolver.asked == []


@pytest.mark.parametrize("port", [0, 1, 22, 24, 26, 80, 110, 143, 443, 993, 3306, 5672, 6379, 8080, 65_535])
async def test_if_the_port_is_none_of_mail_submission_it_is_refused(port: int) -> None:
    error = await fault_of(guard(), PUBLIC, port)
    assert error.fault is FailureKind.EGRESS


@pytest.mark.parametrize(
    ("ports", "port"), [(SMTP_PORTS, p) for p in (25, 465, 587, 2525)] + [(IMAP_PORTS, 143), (IMAP_PORTS, 993)]
)
async def test_usual_ports_of_a_public_host_are_allowed(ports: frozenset[int], port: int) -> None:
    assert await guard().vetted(PUBLIC, port, ports, 5) == [ip_address(PUBLIC)]


async def test_a_pasted_url_does_not_come_back_in_the_error() -> None:
    """People paste `smtp://user:password@host` into the host field."""
    error = await fault_of(guard(), "smtp://ivan:hunter2@smtp.example")
    assert "hunter2" not in str(error)


@pytest.mark.parametrize(
    "name",
    ["localhost", "LOCALHOST.", "loc\u200balhost", "ｌｏｃａｌｈｏｓｔ", "loca\u00adlhost"],
)
async def test_localhost_is_this_host_however_it_is_written(name: str) -> None:
    """If a name only looks different, then it is judged by what it means, like every other."""
    resolver = TableResolver()
    assert (await fault_of(guard(resolver), name)).fault is FailureKind.EGRESS
    assert await guard(resolver, "127.0.0.1").vetted(name, 587, SMTP_PORTS, 5) == [ip_address("127.0.0.1")]
    assert resolver.asked == [], "no name server has a say in it (RFC 6761)"


@pytest.mark.parametrize("name", ["127.0.0.1.nip.io", "metadata.google.example", "rebind.network", "10.0.0.1.sslip.io"])
async def test_a_public_name_for_an_inner_address_is_refused(name: str) -> None:
    resolver = TableResolver()
    resolver.set(name, ["169.254.169.254", "127.0.0.1", "fd00:ec2::254", "::ffff:10.0.0.1"])
    error = await fault_of(guard(resolver), name)
    assert error.fault is FailureKind.EGRESS
    assert "cloud metadata" in str(error)


class TestOperatorsHosts:
    """Hosts that the operator's own settings name, such as the snapshot's."""

    @pytest.mark.parametrize(
        "address", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "100.64.0.1", "::1", "fd12::1", PUBLIC]
    )
    @pytest.mark.parametrize("port", [80, 443, 8080])
    async def test_they_may_be_in_private_networks_on_any_port(self, address: str, port: int) -> None:
        tested = EgressGuard(EgressPolicy(is_operators=True), TableResolver())
        assert await tested.vetted(address, port, frozenset(), 5) == [ip_address(address)]

    @pytest.mark.parametrize(
        "address",
        [
            "169.254.169.254",
            "fd00:ec2::254",
            "fd20:ce::254",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "192.80.8.124",
            "fd00:42::42",
            "fd00:c1::a9fe:a9fe",
            "fd00:a9fe:a9fe::1",
            "fd00:100::100:200",
            "0.0.0.0",
            "fe80::1",
            "224.0.0.1",
            "255.255.255.255",
            "::ffff:127.0.0.1",
            "2002:7f00:1::1",
        ],
    )
    async def test_but_no_metadata_service_and_nothing_that_is_no_host(self, address: str) -> None:
        tested = EgressGuard(EgressPolicy(is_operators=True), TableResolver())
        assert (await fault_of(tested, address, 80)).fault is FailureKind.EGRESS


class TestNames:
    async def test_if_some_addresses_are_forbidden_only_the_others_are_used(self) -> None:
        resolver = TableResolver()
        resolver.set("smtp.example", ["10.0.0.1", PUBLIC, "::1", PUBLIC_V6])
        assert await guard(resolver).vetted("smtp.example", 587, SMTP_PORTS, 5) == [
            ip_address(PUBLIC),
            ip_address(PUBLIC_V6),
        ]

    async def test_families_take_turns_and_eight_are_enough(self) -> None:
        """A host whose IPv6 is dead is reached by its second address, not its tenth."""
        resolver = TableResolver()
        resolver.set("smtp.example", [f"2606:2800::{n}" for n in range(1, 10)] + [PUBLIC])
        vetted = await guard(resolver).vetted("smtp.example", 587, SMTP_PORTS, 5)
        assert vetted[:3] == [ip_address("2606:2800::1"), ip_address(PUBLIC), ip_address("2606:2800::2")]
        assert len(vetted) == 8

    async def test_repeated_and_senseless_answers_are_dropped(self) -> None:
        resolver = TableResolver()
        resolver.set("smtp.example", [PUBLIC, "not an address", PUBLIC])
        assert await guard(resolver).vetted("smtp.example", 587, SMTP_PORTS, 5) == [ip_address(PUBLIC)]

    @pytest.mark.parametrize(
        ("written", "looked_up"),
        [
            ("SMTP.Example.", "smtp.example"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("почта.рф", "xn--80a1acny.xn--p1ai"),
            ("mail_server.acme.example", "mail_server.acme.example"),
            ("ｓｍｔｐ.example", "smtp.example"),
        ],
    )
    async def test_names_are_looked_up_in_one_spelling(self, written: str, looked_up: str) -> None:
        resolver = TableResolver()
        resolver.set(looked_up, [PUBLIC])
        await guard(resolver).vetted(written, 587, SMTP_PORTS, 5)
        assert resolver.asked == [looked_up]

    async def test_nat64_of_a_public_address_is_allowed(self) -> None:
        """An IPv6-only cluster sees every IPv4 host so."""
        resolver = TableResolver()
        resolver.set("smtp.example", ["64:ff9b::" + PUBLIC])
        assert len(await guard(resolver).vetted("smtp.example", 587, SMTP_PORTS, 5)) == 1

    @pytest.mark.parametrize(
        ("failure", "text"),
        [
            (socket.gaierror(socket.EAI_NONAME, "x"), "permanent"),
            (socket.gaierror(socket.EAI_NODATA, "x"), "permanent"),
            (socket.gaierror(socket.EAI_AGAIN, "x"), "temporary"),
            (socket.gaierror(socket.EAI_FAIL, "x"), "temporary"),
            (OSError(24, "x"), "temporary"),
            (TimeoutError(), "temporary"),
        ],
    )
    async def test_a_failed_look_up_says_whether_it_will_pass(self, failure: OSError, text: str) -> None:
        resolver = TableResolver()
        resolver.set("smtp.example", failure)
        error = await fault_of(guard(resolver), "smtp.example")
        assert error.fault is FailureKind.DNS
        assert text in str(error)

    async def test_a_name_without_addresses_is_permanent(self) -> None:
        resolver = TableResolver()
        resolver.set("smtp.example", [])
        error = await fault_of(guard(resolver), "smtp.example")
        assert (error.fault, "permanent" in str(error)) == (FailureKind.DNS, True)

    async def test_a_silent_resolver_ends_in_time(self) -> None:
        class Silent(TableResolver):
            async def addresses(self, name: str) -> list[str]:
                await asyncio.Event().wait()
                raise AssertionError

        with pytest.raises(DialError, match="temporary") as caught:
            await guard(Silent()).vetted("smtp.example", 587, SMTP_PORTS, timeout_s=0.01)
        assert caught.value.fault is FailureKind.DNS


class TestAllowlist:
    @pytest.mark.parametrize(
        ("allow", "host", "port"),
        [
            ("127.0.0.0/8", "127.0.0.1", 40_123),
            ("10.1.2.0/24:25+587", "10.1.2.3", 587),
            ("[fd00::/8]:465", "fd00::1", 465),
            ("fd00::/8", "fd00::1", 1),
            ("10.0.0.7", "10.0.0.7", 99),
            ("[::1]", "::1", 99),
            (f"{PUBLIC}:2526", PUBLIC, 2526),
            (f"{PUBLIC}:2526", PUBLIC, 587),
            ("192.168.0.0/16 , 127.0.0.1", "127.0.0.1", 5),
        ],
    )
    async def test_what_it_names_is_allowed(self, allow: str, host: str, port: int) -> None:
        assert await guard(allow=allow).vetted(host, port, SMTP_PORTS, 5) == [ip_address(host)]

    @pytest.mark.parametrize(
        ("allow", "host", "port"),
        [
            ("10.1.2.0/24:25+587", "10.1.2.3", 465),
            ("10.1.2.0/24", "10.1.3.3", 587),
            ("127.0.0.0/8", "::ffff:127.0.0.1", 587),
            ("127.0.0.0/8", "64:ff9b::127.0.0.1", 587),
            ("127.0.0.0/8", "2130706433", 587),
        ],
    )
    async def test_and_nothing_else(self, allow: str, host: str, port: int) -> None:
        assert (await fault_of(guard(allow=allow), host, port)).fault is FailureKind.EGRESS

    @pytest.mark.parametrize(
        ("text", "complaint"),
        [
            ("127.0.0.0/8,,10.0.0.0/8", "comma"),
            ("127.0.0.0/8,", "comma"),
            ("10.1.2.3/24", "host bits"),
            ("10.0.0.0/33", "'10.0.0.0/33'"),
            ("localhost", "'localhost'"),
            ("10", "'10'"),
            ("10.0.0.0/8:", "port"),
            ("10.0.0.0/8:0", "port"),
            ("10.0.0.0/8:65536", "port"),
            ("10.0.0.0/8:25,587", "'587'"),
            ("10.0.0.0/8:25++587", "port"),
            ("10.0.0.0/8:٢٥", "port"),
            ("[fd00::/8", "expected [network]:ports"),
            ("[fd00::/8]465", "expected [network]:ports"),
            ("[fd00::]/8", "expected [network]:ports"),
            ("fd00::/8:465", "fd00::/8:465"),
        ],
    )
    def test_a_mistake_in_it_is_named(self, text: str, complaint: str) -> None:
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is checked below, brackets and all
            parse_allowlist(text)
        assert complaint in str(caught.value)

    @pytest.mark.parametrize(
        ("deny", "host"),
        [
            (PUBLIC, PUBLIC),
            ("93.184.0.0/16:587", PUBLIC),
            ("93.184.0.0/16", "64:ff9b::" + PUBLIC),
            ("[2606:2800::/32]:587", PUBLIC_V6),
        ],
    )
    async def test_what_the_operator_denies_is_refused_unless_it_is_allowed_too(self, deny: str, host: str) -> None:
        """An installation's own public addresses are not open to its customers."""
        policy = EgressPolicy(denied=parse_allowlist(deny))
        error = await fault_of(EgressGuard(policy, TableResolver()), host)
        assert (error.fault, "the operator refuses" in str(error)) == (FailureKind.EGRESS, True)
        for other in ("93.185.0.1", "2607::1"):
            assert policy.refusal(ip_address(other), 587, SMTP_PORTS) is None
        both = EgressPolicy(parse_allowlist(f"{host}/128" if ":" in host else host), denied=parse_allowlist(deny))
        assert both.refusal(ip_address(host), 587, SMTP_PORTS) is None

    def test_empty_text_has_no_rules(self) -> None:
        assert parse_allowlist("  ") == ()


class TestSystemResolver:
    async def test_it_knows_localhost_which_is_refused(self) -> None:
        resolver = SystemResolver(max_threads=1)
        try:
            error = await fault_of(EgressGuard(EgressPolicy(), resolver), "localhost", 443, HTTPS_PORTS)
            assert error.fault is FailureKind.EGRESS
        finally:
            resolver.close()

    async def test_callers_of_one_name_share_a_look_up_and_one_who_leaves_does_not_end_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One thread only, which the first look-up holds: a second of the same name must not need another."""
        release, calls = asyncio.Event(), []
        loop = asyncio.get_running_loop()

        def slow(name: str, *_: object, **__: object) -> list[tuple[object, ...]]:
            calls.append(name)
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result(10)
            return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (PUBLIC, 0))]

        monkeypatch.setattr(socket, "getaddrinfo", slow)
        resolver = SystemResolver(max_threads=1)
        try:
            leaving = asyncio.create_task(resolver.addresses("smtp.example"))
            staying = asyncio.create_task(resolver.addresses("smtp.example"))
            await asyncio.wait({leaving}, timeout=0.01)
            leaving.cancel()
            await asyncio.wait({leaving})
            release.set()
            assert await staying == [PUBLIC]
            assert calls == ["smtp.example."]
        finally:
            resolver.close()

    async def test_silent_names_of_one_account_leave_threads_for_the_others(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """If one account has hundreds of names whose servers never answer, then others' names are looked up at once."""
        with silent_dns(monkeypatch, "silent.example") as asked:
            resolver = SystemResolver(max_threads=8)
            try:
                hanging = [asyncio.create_task(looked_up(resolver, f"m{n}.silent.example", "evil")) for n in range(300)]
                assert await asyncio.create_task(looked_up(resolver, "smtp.good.example", "good")) == [PUBLIC]
                assert len([name for name in asked if "silent" in name]) == 4, "half of the threads"
            finally:
                resolver.close()
                await end(hanging)

    async def test_a_name_that_another_account_waits_for_is_looked_up_all_the_same(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """If an account whose share is used up asks for a provider's name too, then nobody waits with it."""
        with silent_dns(monkeypatch, "silent.example"):
            resolver = SystemResolver(max_threads=8)
            try:
                hanging = [asyncio.create_task(looked_up(resolver, f"m{n}.silent.example", "evil")) for n in range(8)]
                hanging.append(asyncio.create_task(looked_up(resolver, "smtp.good.example", "evil")))
                await asyncio.sleep(0)
                assert await asyncio.create_task(looked_up(resolver, "smtp.good.example", "good")) == [PUBLIC]
            finally:
                resolver.close()
                await end(hanging)

    async def test_a_name_that_kept_silent_is_not_looked_up_again_for_a_while(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now_s, asked = 0.0, []

        def silent(name: str, *_: object, **__: object) -> list[tuple[object, ...]]:
            nonlocal now_s
            asked.append(name)
            now_s += 20
            raise socket.gaierror(socket.EAI_AGAIN, "temporary failure")

        monkeypatch.setattr(socket, "getaddrinfo", silent)
        resolver = SystemResolver(max_threads=1, monotonic=lambda: now_s)
        try:
            for step_s, looks in ((0, 1), (14, 1), (1, 2), (29, 2), (1, 3)):
                now_s += step_s
                with pytest.raises(socket.gaierror):
                    await resolver.addresses("silent.example")
                assert len(asked) == looks
        finally:
            resolver.close()


@contextmanager
def silent_dns(monkeypatch: pytest.MonkeyPatch, domain: str) -> Iterator[list[str]]:
    """A system resolver to which no name in the domain answers before the end of the context; gives what was asked."""
    release, asked = threading.Event(), list[str]()

    def getaddrinfo(name: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(name)
        if name.rstrip(".").endswith(domain):
            release.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "temporary failure")
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (PUBLIC, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        yield asked
    finally:
        release.set()


async def looked_up(resolver: SystemResolver, name: str, account_id: str) -> list[str]:
    act_for(Holder(account_id, name))
    return await resolver.addresses(name)


async def end(tasks: list[asyncio.Task[list[str]]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

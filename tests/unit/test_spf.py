"""SPF as RFC 7208 has it: results, limits, syntax, macros."""

from ipaddress import ip_address

import pytest

from tests.doubles.name_server import TableNameServer
from worker.operations.mailbox_check.spf.evaluation import SpfCheck
from worker.operations.mailbox_check.spf.macros import Sending, expand
from worker.operations.mailbox_check.spf.record import SpfSyntaxError, is_spf, parse_spf
from worker.operations.mailbox_check.spf.verdict import SpfResult, SpfVerdict

DOMAIN = "acme.example"
V4, V6 = "192.0.2.10", "2001:db8::10"

Record = tuple[str, str, str]


async def verdict(record: str | None, *more: Record, address: str = V4) -> SpfVerdict:
    """What the record of `acme.example` says of an address."""
    names = TableNameServer(*more)
    if record is not None:
        names.add(DOMAIN, "TXT", record)
    sending = Sending(ip_address(address), f"support@{DOMAIN}", "mail.acme.example")
    return await SpfCheck(names, sending).run(DOMAIN)


async def result(record: str | None, *more: Record, address: str = V4) -> str:
    return (await verdict(record, *more, address=address)).result.value


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("v=spf1 +all", "pass"),
        ("v=spf1 all", "pass"),
        ("v=spf1 -all", "fail"),
        ("v=spf1 ~all", "softfail"),
        ("v=spf1 ?all", "neutral"),
        ("v=spf1", "neutral"),
        ("v=spf1 ip4:192.0.2.10 -all", "pass"),
        ("v=spf1 ip4:192.0.2.0/24 -all", "pass"),
        ("v=spf1 ip4:192.0.3.0/24 -all", "fail"),
        ("v=spf1 -ip4:192.0.2.10 +all", "fail"),
        ("v=spf1 ip6:2001:db8::/32 -all", "fail"),
        ("V=SPF1 IP4:192.0.2.10 -ALL", "pass"),
        ("v=spf1   ip4:192.0.2.10    -all  ", "pass"),
        ("v=spf1 unknown=modifier ip4:192.0.2.10 -all", "pass"),
        ("v=spf1 exp=why.acme.example -all", "fail"),
        (None, "none"),
        ("some other text", "none"),
        ("v=spf10 +all", "none"),
        ("v=spf1\t+all", "none"),
    ],
)
async def test_mechanisms_are_taken_in_their_order(record: str | None, expected: str) -> None:
    assert await result(record) == expected


async def test_ip6_matches_the_other_family() -> None:
    assert await result("v=spf1 ip6:2001:db8::/32 -all", address=V6) == "pass"
    assert await result("v=spf1 ip4:192.0.2.0/24 -all", address=V6) == "fail"


async def test_a_and_mx_ask_for_addresses() -> None:
    hosts = (
        ("acme.example", "A", "192.0.2.10"),
        ("out.acme.example", "A", "192.0.2.99"),
        ("out.acme.example", "AAAA", V6),
        ("acme.example", "MX", "10 mx.acme.example"),
        ("mx.acme.example", "A", "198.51.100.7"),
    )
    assert await result("v=spf1 a -all", *hosts) == "pass"
    assert await result("v=spf1 a:out.acme.example -all", *hosts) == "fail"
    assert await result("v=spf1 a:out.acme.example/24 -all", *hosts) == "pass"
    assert await result("v=spf1 a:out.acme.example/24//128 -all", *hosts, address=V6) == "pass"
    assert await result("v=spf1 a:out.acme.example//64 -all", *hosts, address="2001:db8::99") == "pass"
    assert await result("v=spf1 mx -all", *hosts, address="198.51.100.7") == "pass"
    assert await result("v=spf1 mx/24 -all", *hosts, address="198.51.100.99") == "pass"
    assert await result("v=spf1 mx:other.example -all", *hosts) == "fail"


async def test_exists_asks_for_an_address_of_any_kind_of_sender() -> None:
    there = ("10.2.0.192.allowed.example", "A", "127.0.0.2")
    assert await result("v=spf1 exists:%{ir}.allowed.example -all", there) == "pass"
    assert await result("v=spf1 exists:allowed.acme.example -all", ("allowed.acme.example", "A", "127.0.0.2")) == "pass"
    assert await result("v=spf1 exists:allowed.acme.example -all") == "fail"


async def test_ptr_needs_a_name_that_leads_back() -> None:
    pointer = ("10.2.0.192.in-addr.arpa", "PTR", "mail.acme.example")
    back, elsewhere = ("mail.acme.example", "A", V4), ("mail.acme.example", "A", "192.0.2.11")
    assert await result("v=spf1 ptr -all", pointer, back) == "pass"
    assert await result("v=spf1 ptr:acme.example -all", pointer, back) == "pass"
    assert await result("v=spf1 ptr:other.example -all", pointer, back) == "fail"
    assert await result("v=spf1 ptr -all", pointer, elsewhere) == "fail"
    assert await result("v=spf1 ptr -all") == "fail"


@pytest.mark.parametrize(
    ("included", "expected"),
    [
        ("v=spf1 ip4:192.0.2.10 -all", "pass"),
        ("v=spf1 -all", "softfail"),
        ("v=spf1 ~all", "softfail"),
        ("v=spf1 ?all", "softfail"),
        (None, "permerror"),
        ("v=spf1 nonsense", "permerror"),
    ],
)
async def test_an_included_record_matches_when_it_passes(included: str | None, expected: str) -> None:
    more = [("provider.example", "TXT", included)] if included else []
    assert await result("v=spf1 include:provider.example ~all", *more) == expected


async def test_redirect_takes_the_other_record_in_the_place_of_this_one() -> None:
    other = ("_spf.provider.example", "TXT", "v=spf1 ip4:192.0.2.10 -all")
    assert await result("v=spf1 redirect=_spf.provider.example", other) == "pass"
    assert await result("v=spf1 redirect=_spf.provider.example ?all", other) == "neutral"
    assert await result("v=spf1 redirect=_spf.nobody.example") == "permerror"


async def test_two_records_are_an_error() -> None:
    found = await verdict("v=spf1 +all", (DOMAIN, "TXT", "v=spf1 -all"))
    assert found.result is SpfResult.PERMERROR
    assert "2 SPF records" in found.why


async def test_ten_terms_that_ask_dns_are_allowed_and_an_eleventh_is_not() -> None:
    hosts = [(f"h{n}.acme.example", "A", "198.51.100.1") for n in range(11)]
    terms = [f"a:h{n}.acme.example" for n in range(11)]
    assert await result(f"v=spf1 {' '.join(terms[:10])} ip4:192.0.2.10 -all", *hosts) == "pass"
    found = await verdict(f"v=spf1 {' '.join(terms)} ip4:192.0.2.10 -all", *hosts)
    assert found.result is SpfResult.PERMERROR
    assert "more than 10" in found.why


async def test_terms_are_counted_through_includes_and_circles_end() -> None:
    found = await verdict("v=spf1 include:acme.example -all")
    assert found.result is SpfResult.PERMERROR


async def test_two_names_that_are_not_there_are_allowed_and_a_third_is_not() -> None:
    assert await result("v=spf1 a:n1.example a:n2.example ip4:192.0.2.10 -all") == "pass"
    assert await result("v=spf1 a:n1.example a:n2.example a:n3.example ip4:192.0.2.10 -all") == "permerror"


async def test_exchangers_without_an_address_of_the_family_are_no_void_lookups() -> None:
    """If a domain's three exchangers have IPv4 only, then its record is not broken for an IPv6 address."""
    hosts = [(DOMAIN, "MX", f"10 mx{n}.acme.example") for n in range(3)]
    hosts += [(f"mx{n}.acme.example", "A", "198.51.100.1") for n in range(3)]
    assert await result("v=spf1 mx ip6:2001:db8::/32 -all", *hosts, address=V6) == "pass"


async def test_more_than_ten_mail_exchangers_are_an_error() -> None:
    exchangers = [(DOMAIN, "MX", f"10 mx{n}.acme.example") for n in range(11)]
    assert await result("v=spf1 mx -all", *exchangers) == "permerror"


async def test_if_dns_does_not_answer_the_verdict_is_a_temporary_error() -> None:
    names = TableNameServer((DOMAIN, "TXT", "v=spf1 a:slow.example -all"))
    names.failing.add("slow.example")
    sending = Sending(ip_address(V4), "support@acme.example", "mail.acme.example")
    assert (await SpfCheck(names, sending).run(DOMAIN)).result is SpfResult.TEMPERROR


@pytest.mark.parametrize(
    "record",
    [
        "v=spf1 ip4:300.0.0.1 -all",
        "v=spf1 ip4:2001:db8::1 -all",
        "v=spf1 ip4:192.0.2.0/33 -all",
        "v=spf1 ip6:192.0.2.1 -all",
        "v=spf1 ip4 -all",
        "v=spf1 include -all",
        "v=spf1 include: -all",
        "v=spf1 a:acme.example/33 -all",
        "v=spf1 a/024 -all",
        "v=spf1 all:x",
        "v=spf1 all/24",
        "v=spf1 mechanism -all",
        "v=spf1 redirect=a.example redirect=b.example",
        "v=spf1 redirect=",
        "v=spf1 exists:%{x}.example -all",
        "v=spf1 exists:%{c}.example -all",
        "v=spf1 exists:%acme.example -all",
        "v=spf1 -all, ip4:192.0.2.10",
        "v=spf1 " + "a " * 300,
    ],
)
def test_what_breaks_the_grammar_is_an_error_wherever_it_stands(record: str) -> None:
    with pytest.raises(SpfSyntaxError, match=r"."):
        parse_spf(record)


def test_only_the_version_alone_makes_a_record() -> None:
    assert is_spf("v=spf1")
    assert is_spf("V=spf1 -all")
    assert not is_spf("v=spf2.0/pra -all")
    assert not is_spf(" v=spf1 -all")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # RFC 7208 section 7.4, the example's own sender and address
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d3}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "strong-bad"),
        ("%{l-}", "strong.bad"),
        ("%{lr}", "strong-bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
        ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        ("%%-%_-%-", "%- -%20"),
        ("%{p}.example", "unknown.example"),
    ],
)
def test_macros_are_those_of_the_standards_own_examples(text: str, expected: str) -> None:
    sending = Sending(ip_address("192.0.2.3"), "strong-bad@email.example.com", "mx.example.org")
    assert expand(text, "email.example.com", sending) == expected


def test_ipv6_is_spelled_by_its_nibbles() -> None:
    sending = Sending(ip_address("2001:db8::cb01"), "strong-bad@email.example.com", "mx.example.org")
    expected = "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com"
    assert expand("%{ir}.%{v}._spf.%{d2}", "email.example.com", sending) == expected


def test_a_name_that_gets_too_long_is_cut_from_the_left() -> None:
    sending = Sending(ip_address("192.0.2.3"), "x" * 60 + "@email.example.com", "mx.example.org")
    name = expand(".".join(["%{l}"] * 5) + ".example.com", "email.example.com", sending)
    assert len(name) <= 253
    assert name.endswith(".example.com")

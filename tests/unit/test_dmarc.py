"""DMARC as RFC 7489 has it: whose record counts, what it asks for, alignment."""

import pytest

from tests.doubles.name_server import TableNameServer
from worker.operations.mailbox_check.dmarc import DmarcPolicy, NoDmarc, find_dmarc, is_aligned, organizational_domain


async def found(domain: str, *records: tuple[str, str]) -> DmarcPolicy | NoDmarc:
    return await find_dmarc(TableNameServer(*((name, "TXT", text) for name, text in records)), domain)


async def test_the_domains_own_record_counts_before_that_of_its_organization() -> None:
    policy = await found(
        "mail.acme.example",
        ("_dmarc.mail.acme.example", "v=DMARC1; p=none"),
        ("_dmarc.acme.example", "v=DMARC1; p=reject"),
    )
    assert policy == DmarcPolicy("mail.acme.example", "none", "r", "r")


async def test_without_one_the_organizations_policy_for_subdomains_counts() -> None:
    both = await found("mail.acme.example", ("_dmarc.acme.example", "v=DMARC1; p=reject; sp=quarantine"))
    assert isinstance(both, DmarcPolicy)
    assert both.policy == "quarantine"
    one = await found("mail.acme.example", ("_dmarc.acme.example", "v=DMARC1; p=reject"))
    assert isinstance(one, DmarcPolicy)
    assert (one.domain, one.policy, one.is_enforced) == ("acme.example", "reject", True)


async def test_the_policy_for_subdomains_means_nothing_for_the_domain_itself() -> None:
    policy = await found("acme.example", ("_dmarc.acme.example", "v=DMARC1; p=none; sp=reject; aspf=s; adkim=s"))
    assert policy == DmarcPolicy("acme.example", "none", "s", "s")


async def test_a_broken_policy_with_a_place_for_reports_counts_as_none() -> None:
    policy = await found("acme.example", ("_dmarc.acme.example", "v=DMARC1; p=refuse; rua=mailto:d@acme.example"))
    assert isinstance(policy, DmarcPolicy)
    assert policy.policy == "none"


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([], ""),
        (["some other text"], ""),
        (["p=none; v=DMARC1"], ""),  # the version must stand first
        (["v=DMARC10; p=none"], ""),
        (["v=DMARC1; p=none", "v=DMARC1; p=reject"], "2 DMARC records"),
        (["v=DMARC1"], "its policy"),
        (["v=DMARC1; p=refuse"], "its policy"),
    ],
)
async def test_what_does_not_count(records: list[str], why: str) -> None:
    none = await found("acme.example", *(("_dmarc.acme.example", text) for text in records))
    assert isinstance(none, NoDmarc)
    assert not none.is_unknown
    assert why in none.why
    assert bool(none.why) == bool(why)


async def test_if_dns_does_not_answer_nothing_is_said_against_the_domain() -> None:
    names = TableNameServer()
    names.failing.add("_dmarc.acme.example")
    none = await find_dmarc(names, "acme.example")
    assert isinstance(none, NoDmarc)
    assert none.is_unknown


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("acme.com", "acme.com"),
        ("mail.acme.com", "acme.com"),
        ("a.b.acme.co.uk", "acme.co.uk"),
        ("xn--80aa.xn--p1ai", "xn--80aa.xn--p1ai"),
        ("mail.acme.github.io", "acme.github.io"),
        ("co.uk", "co.uk"),
    ],
)
def test_the_organizational_domain_is_what_somebody_registered(domain: str, expected: str) -> None:
    assert organizational_domain(domain) == expected


@pytest.mark.parametrize(
    ("signed", "alignment", "expected"),
    [
        ("acme.com", "s", True),
        ("ACME.com.", "s", True),
        ("mail.acme.com", "s", False),
        ("mail.acme.com", "r", True),
        ("provider.com", "r", False),
        ("acme.co.uk", "r", False),
    ],
)
def test_alignment(signed: str, alignment: str, expected: bool) -> None:
    assert is_aligned(signed, "acme.com", alignment) is expected

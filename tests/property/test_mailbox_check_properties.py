"""What a check reads from strangers, their DNS records, letters and servers, never makes it stumble."""

import asyncio
from contextlib import suppress
from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.doubles.name_server import TableNameServer
from worker.adapters.dkim_names import signature_names
from worker.adapters.dkim_verifying import verify
from worker.adapters.imap.responses import fetched_body, my_rights, quota_free_kib
from worker.domain.probe import SignatureName
from worker.operations.mailbox_check.dmarc import DmarcPolicy, NoDmarc, find_dmarc, is_aligned
from worker.operations.mailbox_check.spf.evaluation import SpfCheck
from worker.operations.mailbox_check.spf.macros import Sending, expand
from worker.operations.mailbox_check.spf.record import SpfSyntaxError, parse_spf
from worker.operations.mailbox_check.spf.verdict import SpfResult

NAMES = ("acme.example", "a.example", "b.example", "c.example")
TERMS = st.sampled_from(
    [
        *(f"{mechanism}:{name}" for mechanism in ("include", "a", "mx", "exists", "ptr") for name in NAMES),
        *(f"redirect={name}" for name in NAMES),
        *(
            "a",
            "mx",
            "ptr",
            "ip4:192.0.2.0/24",
            "ip6:::1",
            "-all",
            "~all",
            "?all",
            "%{s}",
            "a:%{i}.%{d2}",
            "x=y",
            "ip4",
        ),
    ]
)
RECORDS = st.lists(TERMS, max_size=12).map(lambda terms: " ".join(["v=spf1", *terms]))
SENDING = Sending(ip_address("192.0.2.10"), "support@acme.example", "mail.acme.example")

SIGNATURE = (
    b"DKIM-Signature: v=1; a=%s; c=relaxed/simple; d=acme.example; s=check; h=from; bh=%s; b=%s\r\n"
    b"From: a@acme.example\r\n\r\nHello\r\n"
)


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_an_spf_record_or_a_syntax_error(text: str) -> None:
    with suppress(SpfSyntaxError):
        record = parse_spf(f"v=spf1 {text}")
        included = [each.domain for each in record.mechanisms if each.name == "include"]
        for target in filter(None, [*included, record.redirect]):
            assert len(expand(target, "acme.example", SENDING)) <= 253 or "." not in target


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), RECORDS), st.lists(st.sampled_from(NAMES), max_size=2))
def test_an_evaluation_ends_within_its_bounds_whatever_records_point_at_each_other(
    records: dict[str, str], failing: list[str]
) -> None:
    """If records include each other in circles, then a bounded number of questions is asked of DNS."""
    names = TableNameServer(*((name, "TXT", record) for name, record in records.items()))
    names.failing.update(failing)
    verdict = asyncio.run(SpfCheck(names, SENDING).run("acme.example"))
    assert verdict.result in SpfResult
    assert len(names.asked) <= 200
    assert bool(verdict.why) == (verdict.result in (SpfResult.PERMERROR, SpfResult.TEMPERROR))


@settings(deadline=None)
@given(st.lists(st.text(max_size=100).map(lambda text: f"v=DMARC1;{text}"), max_size=3))
def test_any_dmarc_record_is_a_policy_or_none(texts: list[str]) -> None:
    found = asyncio.run(
        find_dmarc(TableNameServer(*(("_dmarc.acme.example", "TXT", t) for t in texts)), "acme.example")
    )
    assert isinstance(found, DmarcPolicy | NoDmarc)


@settings(deadline=None)
@given(st.text(max_size=40), st.text(max_size=40), st.sampled_from("rs"))
def test_alignment_is_decided_for_any_names(signed: str, claimed: str, alignment: str) -> None:
    assert is_aligned(signed, claimed, alignment) in (True, False)


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_a_letter_or_none(letter: bytes) -> None:
    names = signature_names(b"DKIM-Signature: " + letter)
    assert len(names) <= 5
    assert verify(letter, {}) == []


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([b"rsa-sha256", b"rsa-sha1", b"ed25519-sha256", b"x"]),
    st.binary(max_size=40),
    st.binary(max_size=200),
    st.text(max_size=200),
    st.sampled_from(["v=DKIM1; k=rsa; p=", "k=ed25519; p=", "p=", ""]),
)
def test_no_key_and_no_signature_makes_the_verification_stumble(
    algorithm: bytes, body_hash: bytes, signature: bytes, key: str, before: str
) -> None:
    """If key or signature are rubbish, then the signature does not hold, and that is all."""
    letter = SIGNATURE % (algorithm, body_hash.hex().encode(), signature.hex().encode())
    name = SignatureName("acme.example", "check")
    verdicts = verify(letter, {name: before + key})
    assert not any(verdict.is_valid for verdict in verdicts)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_response_is_read_or_is_another_one(response: bytes) -> None:
    for prefix in (b"", b"MYRIGHTS INBOX ", b'QUOTA "" (', b"1 FETCH (BODY[] {3}\r\n"):
        my_rights(prefix + response)
        quota_free_kib(prefix + response)
        body = fetched_body(prefix + response)
        assert body is None or body in prefix + response

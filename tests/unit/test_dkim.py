"""DKIM signatures of letters that somebody else made so that they take long."""

import asyncio
import base64

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.loop_lag import longest_hold_s
from worker.adapters.dkim import DkimSignatures
from worker.adapters.dkim_names import MAX_HEADER_BYTES, MAX_SIGNATURES, signature_names
from worker.domain.probe import SignatureName

_NAME = SignatureName("acme.example", "check")
_PUBLIC = (
    rsa.generate_private_key(65_537, 2_048)
    .public_key()
    .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
)
_KEY = f"v=DKIM1; k=rsa; p={base64.b64encode(_PUBLIC).decode()}"
_SIGNATURE = (
    b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=acme.example; s=check; h=from; bh=AAAA; b=AAAA\r\n"
)


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(b"From: a@acme.example\r\n\r\n" + b" " * 500_000 + b"x\r\n", id="spaces in the body"),
        pytest.param(b"From: a\r\n" + b" x\r\n" * 300_000 + b"\r\n\r\nx\r\n", id="a field of many lines"),
    ],
)
async def test_a_letter_that_takes_long_ends_by_its_time_and_holds_nobody_up(rest: bytes) -> None:
    """If a letter is made so that its verification takes minutes, then it is ended after a second of computing."""
    signatures = DkimSignatures(cpu_s=1)
    async with longest_hold_s() as held:
        async with asyncio.timeout(60):
            [verdict] = await signatures.verify(_SIGNATURE + rest, {_NAME: _KEY})
    assert not verdict.is_valid
    assert verdict.why == "it takes too long to verify, or too much memory"
    assert held.seconds < 1


async def test_a_verification_that_is_cancelled_ends_its_process() -> None:
    """If the check of a mailbox is over, then nothing of it goes on computing."""
    letter = _SIGNATURE + b"From: a@acme.example\r\n\r\n" + b" " * 500_000 + b"x\r\n"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await DkimSignatures(cpu_s=60).verify(letter, {_NAME: _KEY})


def test_a_folded_signature_is_read_and_others_are_not_taken_for_one() -> None:
    letter = (
        b"X: a\r\n v=1; d=other.example; s=x\r\nDKIM-signature : v=1;\r\n\td=acme.example;\r\n s=check\r\n\r\n"
        b"DKIM-Signature: d=body.example; s=x\r\n"
    )
    assert signature_names(letter) == (_NAME,)


def test_only_the_first_signatures_are_read_and_none_beyond_a_headers_length() -> None:
    assert len(signature_names(_SIGNATURE * 20)) == MAX_SIGNATURES
    assert signature_names(b"X: " + b"x" * MAX_HEADER_BYTES + b"\r\n" + _SIGNATURE) == ()

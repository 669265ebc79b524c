"""DKIM signatures (RFC 6376) in letters that were read back."""

import re
from asyncio import to_thread
from collections.abc import Mapping, Sequence

import dkim
from dkim.asn1 import ASN1FormatError
from dkim.canonicalization import InvalidCanonicalizationPolicyError
from dkim.crypto import DigestTooLargeError
from dkim.util import InvalidTagValueList, parse_tag_value

from worker.domain.hosts import parse_host
from worker.domain.inspection import SignatureName, SignatureVerdict

MAX_SIGNATURES = 5
_LEAST_RSA_BITS = 1024  # RFC 8301 section 3.2
# RSA keys of 4,096 bits have about 740 characters. With a much longer one a letter would keep a processor busy.
_MAX_KEY_CHARS = 1_000
# The library trusts the form of keys and signatures in some places; what it stumbles over is no signature.
_STUMBLES = (
    ASN1FormatError,
    DigestTooLargeError,
    InvalidCanonicalizationPolicyError,
    InvalidTagValueList,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
_KEY = re.compile(rb"(?:^|;)\s*p\s*=([^;]*)")
_SELECTOR = re.compile(r"[A-Za-z0-9_.-]{1,253}")


class DkimSignatures:
    """Reads and verifies the signatures of a letter; the keys are looked up by whoever asks."""

    def names(self, letter: bytes) -> tuple[SignatureName, ...]:
        """Who says that they signed it; at most five, those that cannot be read left out."""
        try:
            headers, _ = dkim.rfc822_parse(letter)
        except (dkim.MessageFormatError, *_STUMBLES):
            return ()
        fields = [value for name, value in headers if name.strip().lower() == b"dkim-signature"][:MAX_SIGNATURES]
        return tuple(name for name in map(_name, fields) if name is not None)

    async def verify(self, letter: bytes, keys: Mapping[SignatureName, str]) -> Sequence[SignatureVerdict]:
        """Verify each signature for which there is a key record; in a thread, as arithmetic takes a moment."""
        return await to_thread(_verify, letter, keys)


def _name(field: bytes) -> SignatureName | None:
    try:
        tags = parse_tag_value(field)
        domain, selector = tags[b"d"].decode("ascii"), tags[b"s"].decode("ascii")
        host = parse_host(domain)
    except (InvalidTagValueList, KeyError, ValueError):  # UnicodeDecodeError is one too
        return None
    return SignatureName(host, selector) if isinstance(host, str) and _SELECTOR.fullmatch(selector) else None


def _verify(letter: bytes, keys: Mapping[SignatureName, str]) -> list[SignatureVerdict]:
    records = {f"{name.record}.".lower().encode(): record.encode() for name, record in keys.items()}
    try:
        verifier = dkim.DKIM(letter, minkey=_LEAST_RSA_BITS)
    except (dkim.MessageFormatError, *_STUMBLES):
        return []
    fields = [value for name, value in verifier.headers if name.strip().lower() == b"dkim-signature"]
    verdicts = []
    for index, field in enumerate(fields[:MAX_SIGNATURES]):
        name = _name(field)
        if name is None or name not in keys:
            continue
        if _is_oversized(keys[name].encode()):
            verdicts.append(SignatureVerdict(name, False, "its key is longer than keys are"))
            continue
        verdicts.append(_verdict(verifier, index, name, records))
    return verdicts


def _verdict(verifier: dkim.DKIM, index: int, name: SignatureName, records: Mapping[bytes, bytes]) -> SignatureVerdict:
    try:
        is_valid = verifier.verify(index, dnsfunc=lambda asked, **_: records.get(asked.lower(), b""))
    except dkim.DKIMException as error:
        return SignatureVerdict(name, False, str(error)[:200])
    except _STUMBLES as error:
        return SignatureVerdict(name, False, f"it cannot be read ({type(error).__name__})")
    return SignatureVerdict(name, is_valid, "" if is_valid else "it does not fit the letter")


def _is_oversized(record: bytes) -> bool:
    key = _KEY.search(record)
    return key is not None and len(key[1]) > _MAX_KEY_CHARS

"""Reads the claimed signers of a letter from its DKIM-Signature fields (RFC 6376 section 3.5)."""

import re

from dkim.util import InvalidTagValueList, parse_tag_value

from worker.domain.hosts import parse_host
from worker.domain.probe import SignatureName

MAX_SIGNATURES = 5
MAX_HEADER_BYTES = 64 * 1024  # of a letter's header; servers take 64 kB at most, and most of them less
MAX_FIELD_BYTES = 8 * 1024  # of a signature, whose longest part has 700 bytes for a key of 4,096 bits
# The library assumes well-formed keys and signatures in some places; its errors mean that there is no signature.
STUMBLES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
_SELECTOR = re.compile(r"[A-Za-z0-9_.-]{1,253}")
_NAME = b"dkim-signature"


def signature_names(letter: bytes) -> tuple[SignatureName, ...]:
    """The names of the first five signatures, without unreadable ones."""
    return tuple(name for name in map(signature_name, _fields(letter[:MAX_HEADER_BYTES])) if name is not None)


def _fields(header: bytes) -> list[bytes]:
    """The values of the first DKIM-Signature fields, unfolded."""
    fields: list[list[bytes]] = []
    is_signature = False
    for line in header.split(b"\n"):
        line = line.removesuffix(b"\r")
        if not line:
            break
        if line[:1] not in (b" ", b"\t"):
            name, colon, line = line.partition(b":")
            is_signature = bool(colon) and name.strip().lower() == _NAME
            if is_signature and len(fields) == MAX_SIGNATURES:
                break
            if is_signature:
                fields.append([])
        if is_signature:
            fields[-1].append(line)
    return [b"".join(parts) for parts in fields]


def signature_name(field: bytes) -> SignatureName | None:
    """The domain and selector in a DKIM-Signature; None if it is unreadable."""
    try:
        tags = parse_tag_value(field[:MAX_FIELD_BYTES])
        domain, selector = tags[b"d"].decode("ascii"), tags[b"s"].decode("ascii")
        host = parse_host(domain)
    except (InvalidTagValueList, *STUMBLES):
        return None
    return SignatureName(host, selector) if isinstance(host, str) and _SELECTOR.fullmatch(selector) else None

"""Permanent identities: of an event, of a result, of a letter's Message-ID.

All are digests, so they reveal nothing of a tenant's data, and a duplicate event gives the same ones.
"""

import hashlib
from collections.abc import Iterable
from functools import lru_cache


def event_key(source: str, event_id: str) -> str:
    """The event's identity as 32 hexadecimal digits; `id` + `source` identify a CloudEvent permanently."""
    return _digest("event", source, event_id)


def letter_token(event: str, recipients: Iterable[int] | None) -> str:
    """Identity of one letter of an event: of the common one (None) or of the one to these recipients' positions."""
    return _digest("letter", event, "common" if recipients is None else _positions(recipients))


def check_letter_token(check: str) -> str:
    """Identity of the test letter of a mailbox's check."""
    return _digest("check letter", check)


def copy_key(message_id: str) -> str:
    """Identity of a letter's copy in Sent, in the form of an event's."""
    return _digest("copy", message_id)


@lru_cache(maxsize=8_192)  # a few megabytes; each letter needs its mailbox's twice
def lane_token(account_id: str, mailbox_id: str) -> str:
    """Identity of a mailbox's lane, as in the headers of a letter that waits for it."""
    return _digest("lane", account_id, mailbox_id)


def counted_address(account_id: str, address: str) -> str:
    """Identity of an address that an account writes to; ignores letter case, which does not distinguish two robots."""
    return _digest("address", account_id, address.lower())


def counted_letter(event: str, recipient: int) -> bytes:
    """Identity of the letter to one recipient (position) of an event, in 8 bytes."""
    return bytes.fromhex(_digest("counted", event, str(recipient))[:16])


def result_id(event: str, recipients: Iterable[int], stage: str) -> str:
    """Id of a result, as a UUID (version 8, RFC 9562): equal results have equal ids, so consumers drop duplicates."""
    digest = _digest("result", event, _positions(recipients), stage)
    variant = "89ab"[int(digest[16], 16) % 4]  # RFC 9562 section 4.1
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:]}"


def _positions(recipients: Iterable[int]) -> str:
    return ",".join(map(str, sorted(recipients)))


def _digest(*parts: str) -> str:
    # The length before each part keeps ("ab", "c") and ("a", "bc") apart.
    joined = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.blake2b(joined.encode(), digest_size=16).hexdigest()

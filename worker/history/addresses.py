"""How the history stores mail addresses: whole, masked, or as a keyed digest that can still be searched for."""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from worker.domain.addresses import masked, parse_address
from worker.history.model import key

_DIGEST_BYTES = 16
# Matches whatever looks like an address in a server's reply. Both runs are bounded, so matching stays linear.
_IN_TEXT = re.compile(r"""[^\s<>"'(),:;@\[\]\\]{1,64}@[^\s<>"'(),:;@\[\]\\]{1,253}""")
# Identifiers are exempt: a Message-ID contains an `@` without being an address.
_IDENTIFIERS = frozenset(
    {
        "account_id", "comment_id", "contact_id", "event_id", "event_source", "event_type", "mailbox_id", "message_id",
        "provider_message_id", "task_id", "traceparent",
    }
)  # fmt: skip
_SEALED = "sealed"
_HIDDEN = "***"


class Keep(StrEnum):
    """How addresses are kept: a search by a mask finds all addresses that share it, one by a digest only its own."""

    WHOLE = "whole"
    MASKED = "masked"
    DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Transforms addresses as the installation's setting requires. `secret` keys the digests (HMAC, RFC 2104)."""

    keep: Keep = Keep.WHOLE
    secret: bytes = field(default=b"", repr=False)

    def kept(self, address: str) -> str:
        """An address in the form that records store and searches compare; case-insensitive."""
        normal = _normal(address)
        match self.keep:
            case Keep.WHOLE:
                return key(normal)
            case Keep.MASKED:
                return key(masked(normal))
            case Keep.DIGEST:
                return self._digest(normal)

    def body(self, data: Mapping[str, object]) -> dict[str, object]:
        """A result's data with all addresses transformed, also within server replies, and without sealed secrets."""
        treat = None if self.keep is Keep.WHOLE else self._in_words
        return {name: _treated(name, value, treat) for name, value in data.items()}

    def _in_words(self, text: str) -> str:
        return _IN_TEXT.sub(lambda found: self.kept(found[0].rstrip(".")), text) if "@" in text else text

    def _digest(self, normal: str) -> str:
        digest = hmac.new(self.secret, normal.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
        return f"hmac:{digest[:_DIGEST_BYTES].hex()}"


def _normal(address: str) -> str:
    try:
        return parse_address(address).wire.lower()
    except ValueError:
        return address.strip().lower()


def _treated(name: str, value: object, treat: Callable[[str], str] | None) -> object:
    """Transform a JSON value; the reader has already bounded its depth."""
    if name == _SEALED:
        return _HIDDEN
    if isinstance(value, str):
        return value if treat is None or name in _IDENTIFIERS else treat(value)
    if isinstance(value, list):
        return [_treated(name, each, treat) for each in value]
    if isinstance(value, dict):
        return {inner: _treated(inner, each, treat) for inner, each in value.items()}
    return value

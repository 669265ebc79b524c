"""SPF results for a host (RFC 7208 section 2.6)."""

from dataclasses import dataclass
from enum import StrEnum


class SpfResult(StrEnum):
    """The seven results."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105 - a result, not a password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


@dataclass(frozen=True, slots=True)
class SpfVerdict:
    """A result; for the two error results also an explanation."""

    result: SpfResult
    why: str = ""

"""What a look for a newer snapshot came to, for log and metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from worker.adapters.snapshot.problems import Problem


class LookOutcome(StrEnum):
    """What a look for a newer snapshot came to; a closed list, for metrics. The last five are the `Refusal`s."""

    RENEWED = "renewed"
    UNCHANGED = "unchanged"
    UNAVAILABLE = "unavailable"
    FAILED = "failed"
    UNREADABLE = "unreadable"
    WRONG_SCHEMA = "wrong_schema"
    INVALID = "invalid"
    OLDER = "older"
    TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the source, for log and metrics.

    `message` says why nothing was gained, without secrets. `version`, `accounts` and `left_out` are those of the
    snapshot that is served now, None and 0 before the first; `problems` are a new snapshot's first ones.
    """

    outcome: LookOutcome
    message: str
    duration_s: float
    version: int | None
    accounts: int
    left_out: int
    problems: Sequence[Problem] = ()

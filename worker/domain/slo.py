"""What the service promises in numbers, and which letters and copies count for it; `docs/slo.md` says it in words."""

from enum import StrEnum

from worker.domain.failure.classify import Classification
from worker.domain.vocabulary import Reason, Scope

LETTER_WITHIN_S = 60
"""Of the letters that the mailbox's server would take, 99.9 % are handed over within this time of the event."""

COPY_WITHIN_S = 300
"""Of the copies that the mailbox's Sent folder would take, 99 % are there within this time of the letter."""

# Whoever waited for one of these waited for us. Everything else a letter waits for is the customer's, the mail
# server's, or the network's between them: no mailbox's server would have taken the letter then.
_OURS = frozenset({None, Reason.INTERNAL_ERROR.value, Reason.OUTCOME_UNKNOWN.value})


class Promptness(StrEnum):
    """How a letter, recipient by recipient, or a copy stands to its objective.

    `excused` ones are in neither part of the ratio: late or never, for a reason that is not the service's.
    """

    IN_TIME = "in_time"
    LATE = "late"
    LOST = "lost"
    EXCUSED = "excused"


def promptness(seconds: float | None, within_s: float, *, is_excused: bool) -> Promptness:
    """How it stands after this time; None: it will never be."""
    if seconds is not None and seconds <= within_s:
        return Promptness.IN_TIME
    if is_excused:
        return Promptness.EXCUSED
    return Promptness.LOST if seconds is None else Promptness.LATE


def is_wait_excused(last_reason: str | None, *, has_turn: bool, is_platform: bool = False) -> bool:
    """Whether what is late had to wait for its own mailbox.

    Args:
        last_reason: what it was put off for last, if it was.
        has_turn: it waited in the mailbox's own queue, behind as many as the mailbox may send.
        is_platform: it leaves through the platform's relay, which is as much ours as the worker.
    """
    return not is_platform and (has_turn or last_reason not in _OURS)


def is_end_excused(why: Classification, *, is_wait_excused: bool) -> bool:
    """Whether what was given up is nobody's debt of the service; too old is what waited for us until then."""
    if why.reason is Reason.EXPIRED:
        return is_wait_excused
    return why.scope is not Scope.PLATFORM and why.reason.value not in _OURS

"""The service-level objectives in numbers, and which letters and copies count for them; see `docs/slo.md`."""

from enum import StrEnum

from worker.domain.failure.classify import Classification
from worker.domain.vocabulary import Reason, Scope

LETTER_WITHIN_S = 60
"""Of the letters that the mailbox's server would accept, 99.9 % are handed over within this time of the event."""

COPY_WITHIN_S = 300
"""Of the copies that the mailbox's Sent folder would accept, 99 % are there within this time of the letter."""

# Waiting for one of these is the service's delay. All other waits are due to the customer, the mail server, or the
# network in between: no mailbox's server would have accepted the letter then.
_OURS = frozenset({None, Reason.INTERNAL_ERROR.value, Reason.OUTCOME_UNKNOWN.value})


class Promptness(StrEnum):
    """How a letter, recipient by recipient, or a copy counts for its objective.

    `excused` ones are in neither part of the ratio: late or never, for a reason that is not the service's.
    """

    IN_TIME = "in_time"
    LATE = "late"
    LOST = "lost"
    EXCUSED = "excused"


def promptness(seconds: float | None, within_s: float, *, is_excused: bool) -> Promptness:
    """Rate a letter or copy by its duration; None: it will never arrive."""
    if seconds is not None and seconds <= within_s:
        return Promptness.IN_TIME
    if is_excused:
        return Promptness.EXCUSED
    return Promptness.LOST if seconds is None else Promptness.LATE


def is_wait_excused(last_reason: str | None, *, has_turn: bool, is_platform: bool = False) -> bool:
    """True when a late letter or copy had to wait for its own mailbox.

    Args:
        last_reason: the reason of its last deferral, if any.
        has_turn: it waited in the mailbox's own backlog, behind as many as the mailbox may send.
        is_platform: it leaves through the platform's relay, which is as much ours as the worker.
    """
    return not is_platform and (has_turn or last_reason not in _OURS)


def is_end_excused(why: Classification, *, is_wait_excused: bool) -> bool:
    """True when giving up is not the service's failure; an expired letter counts by what it last waited for."""
    if why.reason is Reason.EXPIRED:
        return is_wait_excused
    return why.scope is not Scope.PLATFORM and why.reason.value not in _OURS

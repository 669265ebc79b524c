"""What each call of `mailbox_states.MailboxStates` does to a mailbox's state, as pure functions.

`owner` and the keys of `shares` are processes; `shares` are the connections of those that live.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from worker.delivery.mailbox_states import (
    Cap,
    Entered,
    Entry,
    Full,
    HeldNews,
    ImapRefusal,
    Limited,
    MailboxLimits,
    MailboxState,
    Outdated,
    Resting,
    Revision,
    Shut,
    Suspension,
)
from worker.domain.rate_windows import DAY, MINUTE
from worker.domain.vocabulary import Reason

PROOF = timedelta(minutes=10)
"""For how long a sign-in that succeeded shows that the next one will."""

_LAGGING = timedelta(minutes=15)  # a snapshot that is behind for longer than that has been set back
_TOUCHED_AGAIN = timedelta(minutes=5)
_WANTED = timedelta(seconds=10)
_EASED_PER_MINUTE = 30
_EASED_STEPS = 5

CAP_STEP = timedelta(minutes=30)
"""How long it takes until a mailbox whose server said "too many connections" may have one more again.

Long, because each step may run into the same refusal, which lets the mailbox rest for minutes.
"""


def enter(
    state: MailboxState,
    shares: Mapping[object, int],
    owner: object,
    request: tuple[Revision, MailboxLimits, int],
    now: datetime,
) -> tuple[MailboxState, Entry]:
    """Ask for connections. While it is not known whether the mailbox works, there is one, for one worker."""
    revision, limits, connections = request
    if state.suspension is not None:
        return state, Shut(state.suspension)
    if _is_outdated(state, revision, now):
        return state, Outdated()
    state = _touched(_with_settings(state, revision), now)
    if resting := resting_of(state, now):
        return state, resting
    proof_age = now - state.proven_at if state.proven_at is not None else PROOF
    is_proven = proof_age < PROOF
    mine = shares.get(owner, 0)
    others = sum(shares.values()) - mine
    allowed = min(limits.connections, capped(state, now) or limits.connections) if is_proven else 1
    if connections > mine and others + connections > allowed:
        return replace(state, wanted_at=now, wanted_by=owner), Full()
    return state, Entered(connections, not is_proven, proof_age >= PROOF / 2, _eased_since(state, now, limits))


def _is_outdated(state: MailboxState, revision: Revision, now: datetime) -> bool:
    if state.revision is None or not state.revision.is_newer_than(revision):
        return False
    return state.touched_at is not None and now - state.touched_at < _LAGGING


def _with_settings(state: MailboxState, revision: Revision) -> MailboxState:
    """The state under these settings: what was known of other ones says nothing about them."""
    known = state.revision
    if known is not None and (known.fingerprint == revision.fingerprint or known.version == revision.version):
        return state
    return replace(state, revision=revision, proven_at=None, touched_at=None, cap=None)


def _touched(state: MailboxState, now: datetime) -> MailboxState:
    """The state in use; noted now and then only, because each note is a row to write."""
    is_noted = state.touched_at is not None and now - state.touched_at < _TOUCHED_AGAIN
    return state if is_noted else replace(state, touched_at=now)


def permit(
    state: MailboxState, limits: MailboxLimits, recipients: int, now: datetime
) -> tuple[MailboxState, Shut | Resting | Limited | None]:
    """Let one letter through, or say when it may come again."""
    if state.suspension is not None:
        return state, Shut(state.suspension)
    if resting := resting_of(state, now):
        return state, resting
    per_minute = _lower(limits.per_minute, _eased_per_minute(state, now, limits))
    until = MINUTE.free_at(state.minute, now, per_minute, 1) if per_minute is not None else None
    day_until = DAY.free_at(state.day, now, limits.per_day, recipients) if limits.per_day is not None else None
    if day_until is not None:
        return state, Limited(day_until, is_of_day=True)
    if until is not None:
        return state, Limited(until, is_of_day=False)
    return _counted(state, 1, recipients, now), None


def _counted(state: MailboxState, letters: int, recipients: int, now: datetime) -> MailboxState:
    return replace(state, minute=MINUTE.added(state.minute, now, letters), day=DAY.added(state.day, now, recipients))


def refund(state: MailboxState, recipients: int, now: datetime) -> MailboxState:
    """Take a letter out of the day's count; not out of the minute's, because the server did see it."""
    return _counted(state, 0, -recipients, now)


def prove(state: MailboxState, revision: Revision, now: datetime) -> MailboxState:
    """Note that a sign-in succeeded, unless it was with settings that count no more."""
    is_of_now = state.revision is not None and not state.revision.is_newer_than(revision)
    return replace(state, proven_at=now) if is_of_now and state.suspension is None else state


def rest(
    state: MailboxState, shares: Mapping[object, int], resting: Resting, now: datetime
) -> tuple[MailboxState, int | None]:
    """Let nothing through for a while, and fewer at a time after that where there were too many connections.

    The same rest once more changes nothing. Of several connections that are refused together each takes one away, so
    that as many are left as were not refused.
    """
    known = resting_of(state, now)
    if known is not None and known.until >= resting.until:
        return state, None
    state = replace(state, resting=resting)
    if resting.reason is not Reason.TOO_MANY_CONNECTIONS:
        return state, None
    in_use = sum(shares.values())
    connections = max(min(capped(state, now) or in_use, in_use) - 1, 1)
    return replace(state, cap=Cap(connections, now)), connections


def capped(state: MailboxState, now: datetime) -> int | None:
    """How many connections the server lets us have, as far as it has said so: one more with each `CAP_STEP`."""
    return None if state.cap is None else state.cap.connections + (now - state.cap.since) // CAP_STEP


def refuse_imap(state: MailboxState, refusal: ImapRefusal) -> MailboxState:
    """Note a refused sign-in; of two with the same settings the later end counts."""
    known = state.imap_refusal
    if known is not None and known.fingerprint == refusal.fingerprint and known.until >= refusal.until:
        return state
    return replace(state, imap_refusal=refusal)


def resting_of(state: MailboxState, now: datetime) -> Resting | None:
    """Why nothing leaves now, if the mailbox rests."""
    return state.resting if state.resting is not None and state.resting.until > now else None


def suspend(state: MailboxState, suspension: Suspension) -> tuple[MailboxState, Suspension | None]:
    """Stop the mailbox, once, unless its settings are other ones by now."""
    if state.suspension is not None:
        return state, state.suspension
    if state.revision is not None and state.revision.is_newer_than(suspension.revision):
        return state, None
    revision = suspension.revision
    return replace(state, suspension=suspension, revision=revision, proven_at=None, resumed_at=None), suspension


def resume(
    state: MailboxState, suspension: Suspension, revision: Revision | None, now: datetime
) -> tuple[MailboxState, bool]:
    """End this very suspension. A rest ends with it: whoever resumes a mailbox wants to see it go on.

    `revision`: of the settings that ended it, if they did. From now on they are the ones that count: a worker that
    has not read them yet would try the old ones once more.
    """
    if state.suspension != suspension:
        return state, False
    if revision is not None:
        state = replace(state, revision=revision, touched_at=now, cap=None)
    ended = replace(state, suspension=None, resumed_at=now, proven_at=None, resting=None, imap_refusal=None)
    return ended, True


def held_news(state: MailboxState, connections: int, others: int, owner: object, now: datetime) -> HeldNews:
    """What a worker should know that has connections."""
    is_wanted = state.wanted_at is not None and now - state.wanted_at < _WANTED and state.wanted_by != owner
    return HeldNews(connections, others, state.suspension, resting_of(state, now), is_wanted)


def eased_for_s(eased_since: datetime | None, now: datetime, limits: MailboxLimits) -> float:
    """For how many seconds more a resumed mailbox goes on slowly."""
    if eased_since is None:
        return 0.0
    return max(limits.ease_s - (now - eased_since).total_seconds(), 0.0)


def _eased_since(state: MailboxState, now: datetime, limits: MailboxLimits) -> datetime | None:
    return state.resumed_at if eased_for_s(state.resumed_at, now, limits) > 0 else None


def _eased_per_minute(state: MailboxState, now: datetime, limits: MailboxLimits) -> int | None:
    """How much a resumed mailbox may send: twice as much with each fifth of the time, until it is as free as others."""
    if state.resumed_at is None or eased_for_s(state.resumed_at, now, limits) <= 0:
        return None
    steps = (now - state.resumed_at).total_seconds() // (limits.ease_s / _EASED_STEPS)
    return int(_EASED_PER_MINUTE * 2**steps)


def _lower(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)

"""What each call of `state.MailboxStates` does to one mailbox.

A rule takes the mailbox, locked by its caller, and the call's own arguments; it changes the mailbox and returns the
call's answer. Rules know neither database nor clock.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from worker.delivery.mailboxes.state import (
    Cap,
    Entered,
    Entry,
    Full,
    ImapRefusal,
    LeaseUpdate,
    Limited,
    MailboxLimits,
    MailboxState,
    OutboxMessage,
    Outdated,
    Resting,
    Revision,
    Shut,
    Suspension,
)
from worker.domain.rate_window import DAY, MINUTE
from worker.domain.vocabulary import Reason

PROOF = timedelta(minutes=10)
"""How long a successful sign-in counts as proof that the next one will succeed."""

_LAGGING = timedelta(minutes=15)  # a snapshot that lags for longer than that has been rolled back
_TOUCHED_AGAIN = timedelta(minutes=5)
_WANTED = timedelta(seconds=10)
_EASED_PER_MINUTE = 30
_EASED_STEPS = 5

CAP_STEP = timedelta(minutes=30)
"""How long until a mailbox whose server said "too many connections" may have one more again.

Long, because each step may run into the same refusal, which starts a cooldown of minutes.
"""


@dataclass(slots=True)
class SharedMailbox:
    """One mailbox as `owner`, a process, sees and changes it at one moment.

    `shares`: the connections of each living process. `announcements`: results for the outbox, stored with the change.
    """

    owner: object
    now: datetime
    state: MailboxState
    shares: dict[object, int]
    announcements: list[OutboxMessage] = field(default_factory=list)

    def touch(self) -> None:
        """Keep the state from expiring as unused."""
        self.state = replace(self.state, touched_at=self.now)


def enter(mailbox: SharedMailbox, revision: Revision, limits: MailboxLimits, connections: int) -> Entry:
    """Ask for connections. Until the mailbox is proven to work there is only one, for one worker."""
    state, now = mailbox.state, mailbox.now
    if state.suspension is not None:
        return Shut(state.suspension)
    if _is_outdated(state, revision, now):
        return Outdated()
    mailbox.state = state = _touched(_with_settings(state, revision), now)
    if resting := resting_of(state, now):
        return resting
    proof_age = now - state.proven_at if state.proven_at is not None else PROOF
    is_proven = proof_age < PROOF
    mine = mailbox.shares.get(mailbox.owner, 0)
    others = sum(mailbox.shares.values()) - mine
    allowed = min(limits.connections, capped(state, now) or limits.connections) if is_proven else 1
    if connections > mine and others + connections > allowed:
        mailbox.state = replace(state, wanted_at=now, wanted_by=mailbox.owner)
        return Full()
    mailbox.shares[mailbox.owner] = connections
    return Entered(connections, not is_proven, proof_age >= PROOF / 2, _eased_since(state, now, limits))


def keep(mailbox: SharedMailbox, connections: int) -> None:
    """Use at most this many connections from now on."""
    mailbox.shares[mailbox.owner] = connections


def _is_outdated(state: MailboxState, revision: Revision, now: datetime) -> bool:
    if state.revision is None or not state.revision.is_newer_than(revision):
        return False
    return state.touched_at is not None and now - state.touched_at < _LAGGING


def _with_settings(state: MailboxState, revision: Revision) -> MailboxState:
    """The state under these settings: what was learned under others does not apply."""
    known = state.revision
    if known is not None and (known.fingerprint == revision.fingerprint or known.version == revision.version):
        return state
    return replace(state, revision=revision, proven_at=None, touched_at=None, cap=None)


def _touched(state: MailboxState, now: datetime) -> MailboxState:
    """Mark the state as used; only now and then, because each mark writes a row."""
    is_noted = state.touched_at is not None and now - state.touched_at < _TOUCHED_AGAIN
    return state if is_noted else replace(state, touched_at=now)


def permit(mailbox: SharedMailbox, limits: MailboxLimits, recipients: int) -> Shut | Resting | Limited | None:
    """Permit one letter, or say when it may be tried again."""
    state, now = mailbox.state, mailbox.now
    if state.suspension is not None:
        return Shut(state.suspension)
    if resting := resting_of(state, now):
        return resting
    per_minute = _lower(limits.per_minute, _eased_per_minute(state, now, limits))
    until = MINUTE.free_at(state.minute, now, per_minute, 1) if per_minute is not None else None
    day_until = DAY.free_at(state.day, now, limits.per_day, recipients) if limits.per_day is not None else None
    if day_until is not None:
        return Limited(day_until, is_of_day=True)
    if until is not None:
        return Limited(until, is_of_day=False)
    mailbox.state = _counted(state, 1, recipients, now)
    return None


def _counted(state: MailboxState, letters: int, recipients: int, now: datetime) -> MailboxState:
    return replace(state, minute=MINUTE.added(state.minute, now, letters), day=DAY.added(state.day, now, recipients))


def refund(mailbox: SharedMailbox, recipients: int) -> None:
    """Remove a letter from the day's count; not from the minute's, because the server did see it."""
    mailbox.state = _counted(mailbox.state, 0, -recipients, mailbox.now)


def prove(mailbox: SharedMailbox, revision: Revision) -> None:
    """Record a successful sign-in, unless it used outdated settings."""
    state = mailbox.state
    is_of_now = state.revision is not None and not state.revision.is_newer_than(revision)
    if is_of_now and state.suspension is None:
        mailbox.state = replace(state, proven_at=mailbox.now)


def rest(mailbox: SharedMailbox, until: datetime, reason: Reason) -> int | None:
    """Start a cooldown and, after too many connections, lower the cap on connections.

    Idempotent for the same cooldown. Of several connections refused together each lowers the cap by one, which
    leaves as many as were not refused.
    """
    mailbox.touch()
    known = resting_of(mailbox.state, mailbox.now)
    if known is not None and known.until >= until:
        return None
    mailbox.state = replace(mailbox.state, resting=Resting(until, reason))
    if reason is not Reason.TOO_MANY_CONNECTIONS:
        return None
    in_use = sum(mailbox.shares.values())
    connections = max(min(capped(mailbox.state, mailbox.now) or in_use, in_use) - 1, 1)
    mailbox.state = replace(mailbox.state, cap=Cap(connections, mailbox.now))
    return connections


def capped(state: MailboxState, now: datetime) -> int | None:
    """How many connections the server allows, as far as it has said so: one more with each `CAP_STEP`."""
    return None if state.cap is None else state.cap.connections + (now - state.cap.since) // CAP_STEP


def refuse_imap(mailbox: SharedMailbox, refusal: ImapRefusal) -> None:
    """Record a refused sign-in; of two with the same settings the later end counts."""
    mailbox.touch()
    known = mailbox.state.imap_refusal
    if known is not None and known.fingerprint == refusal.fingerprint and known.until >= refusal.until:
        return
    mailbox.state = replace(mailbox.state, imap_refusal=refusal)


def resting_of(state: MailboxState, now: datetime) -> Resting | None:
    """The mailbox's cooldown, if it is in one."""
    return state.resting if state.resting is not None and state.resting.until > now else None


def suspend(mailbox: SharedMailbox, suspension: Suspension, announcement: OutboxMessage) -> Suspension | None:
    """Suspend the mailbox, once, unless its settings have changed since."""
    mailbox.touch()
    state = mailbox.state
    if state.suspension is not None:
        return state.suspension
    if state.revision is not None and state.revision.is_newer_than(suspension.revision):
        return None
    mailbox.state = replace(state, suspension=suspension, revision=suspension.revision, proven_at=None, resumed_at=None)
    mailbox.announcements.append(announcement)
    return suspension


def resume(
    mailbox: SharedMailbox, suspension: Suspension, announcement: OutboxMessage, revision: Revision | None
) -> bool:
    """End exactly this suspension, and any cooldown with it: resuming a mailbox means that it sends again.

    `revision`: the settings that ended it, if any did. From now on these are the current ones: a worker that has not
    read them yet would try the old ones again.
    """
    mailbox.touch()
    if mailbox.state.suspension != suspension:
        return False
    if revision is not None:
        mailbox.state = replace(mailbox.state, revision=revision, cap=None)
    mailbox.state = replace(
        mailbox.state, suspension=None, resumed_at=mailbox.now, proven_at=None, resting=None, imap_refusal=None
    )
    mailbox.announcements.append(announcement)
    return True


def held_news(state: MailboxState, connections: int, others: int, owner: object, now: datetime) -> LeaseUpdate:
    """The update for a worker that holds connections."""
    is_wanted = state.wanted_at is not None and now - state.wanted_at < _WANTED and state.wanted_by != owner
    return LeaseUpdate(connections, others, state.suspension, resting_of(state, now), is_wanted)


def eased_for_s(eased_since: datetime | None, now: datetime, limits: MailboxLimits) -> float:
    """For how many more seconds a resumed mailbox stays in its ramp-up."""
    if eased_since is None:
        return 0.0
    return max(limits.ease_s - (now - eased_since).total_seconds(), 0.0)


def _eased_since(state: MailboxState, now: datetime, limits: MailboxLimits) -> datetime | None:
    return state.resumed_at if eased_for_s(state.resumed_at, now, limits) > 0 else None


def _eased_per_minute(state: MailboxState, now: datetime, limits: MailboxLimits) -> int | None:
    """A resumed mailbox's rate limit: it doubles with each fifth of the ramp-up, until the normal one applies."""
    if state.resumed_at is None or eased_for_s(state.resumed_at, now, limits) <= 0:
        return None
    steps = (now - state.resumed_at).total_seconds() // (limits.ease_s / _EASED_STEPS)
    return int(_EASED_PER_MINUTE * 2**steps)


def _lower(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)

"""The mailbox state that all workers share: suspension, cooldown, connections, and recent counts of letters.

The port, and the values that cross it. What each call does to a state is in `rules`; every adapter applies those rules
to its own rows, one call at a time for each mailbox, so that two workers never see different things.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from worker.domain.rate_window import Counts
from worker.domain.vocabulary import Reason


class MailboxKey(NamedTuple):
    """Account and mailbox: two accounts may use the same mailbox id."""

    account_id: str
    mailbox_id: str


@dataclass(frozen=True, slots=True)
class Revision:
    """A mailbox's settings as a digest (`domain.fingerprint`), and the version of the snapshot that has them."""

    fingerprint: str
    version: int

    def is_newer_than(self, other: "Revision") -> bool:
        """True when the settings have changed since: different ones, in a later snapshot.

        Two workers' snapshots may be seconds apart. Without the version, the worker that lags would take the old
        settings for a change.
        """
        return self.fingerprint != other.fingerprint and self.version > other.version


@dataclass(frozen=True, slots=True)
class Suspension:
    """Why and since when a mailbox is suspended; `words` are the server's, with addresses masked."""

    key: MailboxKey
    revision: Revision
    reason: Reason
    since: datetime
    address: str | None = None
    code: int | None = None
    enhanced: str | None = None
    words: str | None = None
    detail: str | None = None
    event_id: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """A result that a change of state requires: stored with it until published."""

    id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class StaleMessage:
    """An unpublished announcement, older than publishing takes."""

    announcement: OutboxMessage
    at: datetime


@dataclass(frozen=True, slots=True)
class MailboxLimits:
    """A mailbox's limits across all workers: letters a minute, recipients a day; None: no limit.

    `ease_s`: length of the ramp-up after a suspension.
    """

    connections: int
    per_minute: int | None = None
    per_day: int | None = None
    ease_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Entered:
    """This worker may use this many connections.

    `is_probe`: the mailbox is not proven to work yet, so this is its only connection; `needs_proof`: report a
    successful sign-in with `prove`. `eased_since`: when the mailbox's suspension ended; its ramp-up began then.
    """

    connections: int
    is_probe: bool
    needs_proof: bool
    eased_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Shut:
    """The mailbox is suspended."""

    suspension: Suspension


@dataclass(frozen=True, slots=True)
class Resting:
    """The mailbox sends nothing before `until`, because its server said so."""

    until: datetime
    reason: Reason


@dataclass(frozen=True, slots=True)
class ImapRefusal:
    """The IMAP server refused the sign-in: with these settings (a fingerprint) no worker tries again before `until`.

    This says nothing of SMTP, which may well accept the same password: the mailbox's letters still leave.
    """

    fingerprint: str
    until: datetime
    reason: Reason


@dataclass(frozen=True, slots=True)
class Standing:
    """Why it may be wrong to sign in to a mailbox now."""

    suspension: Suspension | None = None
    imap_refusal: ImapRefusal | None = None


@dataclass(frozen=True, slots=True)
class Cap:
    """How many connections a mailbox's server allowed when it last said that there were too many."""

    connections: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Limited:
    """One of the mailbox's own limits, per minute or per day, is reached until then."""

    until: datetime
    is_of_day: bool


@dataclass(frozen=True, slots=True)
class Full:
    """Other workers use all connections; this one keeps those it has."""


@dataclass(frozen=True, slots=True)
class Outdated:
    """Another worker has seen newer settings of this mailbox: poll for a newer snapshot first."""


Entry = Entered | Shut | Resting | Full | Outdated


@dataclass(frozen=True, slots=True)
class LeaseUpdate:
    """State of a mailbox of which this worker holds connections; `others` is how many other workers hold some."""

    connections: int
    others: int = 0
    suspension: Suspension | None = None
    resting: Resting | None = None
    is_wanted: bool = False


@dataclass(frozen=True, slots=True)
class MailboxUpdates:
    """Updates for a worker. `suspended` None: unchanged since the last poll."""

    held: Mapping[MailboxKey, LeaseUpdate]
    suspended: Sequence[Suspension] | None
    overdue: Sequence[StaleMessage]


class MailboxStates(Protocol):
    """All methods raise `Unavailable` as the ledger's do, and are idempotent.

    For the same reason connections are given as totals, not as increments. They end with their owner.
    """

    async def enter(self, key: MailboxKey, revision: Revision, limits: MailboxLimits, connections: int) -> Entry:
        """Ask for this many connections in total; asking for fewer than held is always granted."""

    async def keep(self, key: MailboxKey, connections: int) -> None:
        """Use at most this many connections from now on: the others are closed already."""

    async def permit(self, key: MailboxKey, limits: MailboxLimits, recipients: int) -> Shut | Resting | Limited | None:
        """Ask to send one letter to so many recipients now; None: granted, and counted."""

    async def refund(self, key: MailboxKey, recipients: int) -> None:
        """Uncount a letter that was accepted for no recipient."""

    async def prove(self, key: MailboxKey, revision: Revision) -> None:
        """Record that sign-in succeeds with these settings."""

    async def rest(self, key: MailboxKey, until: datetime, reason: Reason) -> int | None:
        """Start a cooldown until `until`; of two the later end counts.

        With the reason `too_many_connections` the mailbox may then have fewer of them: returns how many.
        """

    async def refuse_imap(self, key: MailboxKey, refusal: ImapRefusal) -> None:
        """Stop sign-ins to the mailbox's IMAP server for a while; its letters still leave."""

    async def suspend(self, suspension: Suspension, announcement: OutboxMessage) -> Suspension | None:
        """Suspend the mailbox; returns the suspension in force, which may be another one.

        None: the settings in use have changed meanwhile, so the refused ones no longer matter.
        """

    async def resume(
        self, suspension: Suspension, announcement: OutboxMessage, revision: Revision | None = None
    ) -> bool:
        """End this suspension; False when it has already ended. `revision`: the settings that ended it."""

    async def told(self, announcement_id: str) -> None:
        """Mark the announcement as published."""

    async def take_over(self, overdue: StaleMessage) -> bool:
        """True when this worker is to publish what another one left behind."""

    async def look(self) -> MailboxUpdates:
        """What has changed since this worker's last poll."""

    async def standing(self, key: MailboxKey) -> Standing:
        """How one mailbox stands."""

    async def suspended(self) -> Sequence[Suspension]:
        """All suspensions, oldest first; for an operator."""

    async def held_up(self, limit: int, accounts: frozenset[str] | None = None) -> Mapping[MailboxKey, "MailboxState"]:
        """Up to `limit` held-up mailboxes, of these accounts or (None) of all; for an operator.

        They are suspended, in a cooldown, refused by their IMAP server, or have fewer connections than granted;
        suspended ones come first.
        """

    async def state(self, key: MailboxKey) -> "MailboxState":
        """The complete stored state of one mailbox; for an operator."""


@dataclass(frozen=True, slots=True)
class MailboxState:
    """One mailbox's state as stored."""

    revision: Revision | None = None
    touched_at: datetime | None = None
    proven_at: datetime | None = None
    resting: Resting | None = None
    wanted_at: datetime | None = None
    wanted_by: object = None
    resumed_at: datetime | None = None
    minute: Counts = ()
    day: Counts = ()
    suspension: Suspension | None = None
    imap_refusal: ImapRefusal | None = None
    cap: Cap | None = None

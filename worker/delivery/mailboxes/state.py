"""What all workers share about a mailbox: whether it is suspended or rests, its connections, and what it sent lately.

The port, and the values that cross it. What each call does to a state is in `mailbox_rules`; every adapter applies
those rules to its own rows, one call after the other for each mailbox, so that two workers never see different things.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from worker.domain.rate_window import Counts
from worker.domain.vocabulary import Reason


class MailboxKey(NamedTuple):
    """Whose mailbox, and which of theirs: two accounts may well use the same id."""

    account_id: str
    mailbox_id: str


@dataclass(frozen=True, slots=True)
class Revision:
    """A mailbox's settings as a digest (`domain.fingerprint`), and the version of the snapshot they stand in."""

    fingerprint: str
    version: int

    def is_newer_than(self, other: "Revision") -> bool:
        """Whether somebody has changed the settings since: other ones, in a later snapshot.

        Two workers may be seconds apart in their snapshots. Without the version, the one that lags would take the
        old settings for a change.
        """
        return self.fingerprint != other.fingerprint and self.version > other.version


@dataclass(frozen=True, slots=True)
class Suspension:
    """Why and since when nothing leaves a mailbox; `words` are the server's, with addresses masked."""

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
    """A result that has to be published because of a change of state: kept with it until that is done."""

    id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class StaleMessage:
    """An announcement that nobody has published yet, although it is older than publishing takes."""

    announcement: OutboxMessage
    at: datetime


@dataclass(frozen=True, slots=True)
class MailboxLimits:
    """What a mailbox may do, over all workers. Letters a minute, recipients a day; None: no limit.

    `ease_s`: for how long it goes on slowly after a suspension.
    """

    connections: int
    per_minute: int | None = None
    per_day: int | None = None
    ease_s: float = 600.0


@dataclass(frozen=True, slots=True)
class Entered:
    """This worker may use so many connections.

    `is_probe`: nobody knows yet whether the mailbox works, so this is the only one; `needs_proof`: a sign-in that
    succeeds is to be told of (`prove`). `eased_since`: the mailbox was suspended until then, and goes on slowly at
    first.
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
    """The IMAP server refused the sign-in: with these settings (a fingerprint) nobody tries again before `until`.

    Nothing is said by it of SMTP, which may well take the same password: the mailbox's letters go on.
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
    """How many connections a mailbox's server let us have when it last said that there were too many."""

    connections: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Limited:
    """One of the mailbox's own limits is reached until then: the minute's, or the day's."""

    until: datetime
    is_of_day: bool


@dataclass(frozen=True, slots=True)
class Full:
    """Other workers use all connections; this one keeps those it has."""


@dataclass(frozen=True, slots=True)
class Outdated:
    """Another worker knows newer settings of this mailbox: look for a newer snapshot first."""


Entry = Entered | Shut | Resting | Full | Outdated


@dataclass(frozen=True, slots=True)
class LeaseUpdate:
    """What became of a mailbox of which this worker has connections; `others` is how many other workers have."""

    connections: int
    others: int = 0
    suspension: Suspension | None = None
    resting: Resting | None = None
    is_wanted: bool = False


@dataclass(frozen=True, slots=True)
class MailboxUpdates:
    """What a worker should know. `suspended` None: the same as the last time."""

    held: Mapping[MailboxKey, LeaseUpdate]
    suspended: Sequence[Suspension] | None
    overdue: Sequence[StaleMessage]


class MailboxStates(Protocol):
    """All methods raise `Unavailable` as the ledger's do, and can be repeated then: what was done is done once.

    The counts of connections are whole numbers and not steps, for the same reason. They end with their owner.
    """

    async def enter(self, key: MailboxKey, revision: Revision, limits: MailboxLimits, connections: int) -> Entry:
        """Ask to use so many connections in all; less than what one has is always granted."""

    async def keep(self, key: MailboxKey, connections: int) -> None:
        """Use only so many connections from now on: the others are closed already."""

    async def permit(self, key: MailboxKey, limits: MailboxLimits, recipients: int) -> Shut | Resting | Limited | None:
        """Ask to send one letter to so many recipients now; None: granted, and counted."""

    async def refund(self, key: MailboxKey, recipients: int) -> None:
        """That letter was accepted for nobody: it does not count."""

    async def prove(self, key: MailboxKey, revision: Revision) -> None:
        """With these settings the sign-in succeeds."""

    async def rest(self, key: MailboxKey, until: datetime, reason: Reason) -> int | None:
        """Let nothing leave before `until`; of two rests the later end counts.

        With the reason `too_many_connections` the mailbox may then have fewer of them: gives how many.
        """

    async def refuse_imap(self, key: MailboxKey, refusal: ImapRefusal) -> None:
        """Let nobody sign in to the mailbox's IMAP server for a while; its letters go on."""

    async def suspend(self, suspension: Suspension, announcement: OutboxMessage) -> Suspension | None:
        """Stop the mailbox; gives the suspension that is in force, another one perhaps.

        None: other settings are in use meanwhile, so that these ones do not matter any more.
        """

    async def resume(
        self, suspension: Suspension, announcement: OutboxMessage, revision: Revision | None = None
    ) -> bool:
        """End this suspension; False when it has ended already. `revision`: of the settings that ended it."""

    async def told(self, announcement_id: str) -> None:
        """It was published."""

    async def take_over(self, overdue: StaleMessage) -> bool:
        """Whether it is this worker's to publish what another one has left behind."""

    async def look(self) -> MailboxUpdates:
        """What is new since the last look of this worker."""

    async def standing(self, key: MailboxKey) -> Standing:
        """How one mailbox stands."""

    async def suspended(self) -> Sequence[Suspension]:
        """All suspensions, the oldest first; for an operator."""

    async def held_up(self, limit: int, accounts: frozenset[str] | None = None) -> Mapping[MailboxKey, "MailboxState"]:
        """At most so many mailboxes, of these accounts or (None) of all, that something holds up; for an operator.

        They are suspended, rest, are refused by their IMAP server, or have fewer connections than they are granted; the
        suspended come first.
        """

    async def state(self, key: MailboxKey) -> "MailboxState":
        """Everything that is kept of one mailbox; for an operator."""


@dataclass(frozen=True, slots=True)
class MailboxState:
    """One mailbox's state as it is kept."""

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

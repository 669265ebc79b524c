"""What callers ask of the shared states of mailboxes: each operation applies its rule to one mailbox's state."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from worker.adapters.ledger.operations import Operation, check_texts
from worker.delivery import mailbox_rules as rules
from worker.delivery.mailbox_states import (
    Announcement,
    Entered,
    Entry,
    ImapRefusal,
    Limited,
    MailboxKey,
    MailboxLimits,
    MailboxState,
    News,
    Overdue,
    Resting,
    Revision,
    Shut,
    Standing,
    Suspension,
)
from worker.domain.vocabulary import Reason

T = TypeVar("T")


@dataclass(slots=True)
class Row:
    """A mailbox as it stands inside a transaction: its state, and the connections of each living owner."""

    state: MailboxState
    shares: dict[object, int]
    announcements: list[Announcement]


@dataclass(frozen=True, eq=False, slots=True)
class OnMailbox(Operation[T]):
    """An operation on one mailbox. Several on the same one follow one another within a transaction."""

    key: MailboxKey

    def apply(self, row: Row, owner: object, now: datetime) -> T:
        """Change the row; gives the answer."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False, slots=True)
class ToEnter(OnMailbox[Entry]):
    revision: Revision
    limits: MailboxLimits
    connections: int

    def apply(self, row: Row, owner: object, now: datetime) -> Entry:
        request = (self.revision, self.limits, self.connections)
        row.state, entry = rules.enter(row.state, row.shares, owner, request, now)
        if isinstance(entry, Entered):
            row.shares[owner] = entry.connections
        return entry


@dataclass(frozen=True, eq=False, slots=True)
class ToKeep(OnMailbox[None]):
    connections: int

    def apply(self, row: Row, owner: object, now: datetime) -> None:  # noqa: ARG002 - the interface
        row.shares[owner] = self.connections


@dataclass(frozen=True, eq=False, slots=True)
class ToPermit(OnMailbox[Shut | Resting | Limited | None]):
    limits: MailboxLimits
    recipients: int

    def apply(self, row: Row, owner: object, now: datetime) -> Shut | Resting | Limited | None:  # noqa: ARG002 - the interface
        row.state, obstacle = rules.permit(row.state, self.limits, self.recipients, now)
        return obstacle


@dataclass(frozen=True, eq=False, slots=True)
class ToRefund(OnMailbox[None]):
    recipients: int

    def apply(self, row: Row, owner: object, now: datetime) -> None:  # noqa: ARG002 - the interface
        row.state = rules.refund(row.state, self.recipients, now)


@dataclass(frozen=True, eq=False, slots=True)
class ToProve(OnMailbox[None]):
    revision: Revision

    def apply(self, row: Row, owner: object, now: datetime) -> None:  # noqa: ARG002 - the interface
        row.state = rules.prove(row.state, self.revision, now)


@dataclass(frozen=True, eq=False, slots=True)
class ToRest(OnMailbox[int | None]):
    until: datetime
    reason: Reason

    def apply(self, row: Row, owner: object, now: datetime) -> int | None:  # noqa: ARG002 - the interface
        resting = Resting(self.until, self.reason)
        row.state, connections = rules.rest(replace(row.state, touched_at=now), row.shares, resting, now)
        return connections


@dataclass(frozen=True, eq=False, slots=True)
class ToRefuseImap(OnMailbox[None]):
    refusal: ImapRefusal

    def apply(self, row: Row, owner: object, now: datetime) -> None:  # noqa: ARG002 - the interface
        row.state = rules.refuse_imap(replace(row.state, touched_at=now), self.refusal)


@dataclass(frozen=True, eq=False, slots=True)
class ToSuspend(OnMailbox[Suspension | None]):
    suspension: Suspension
    announcement: Announcement

    def apply(self, row: Row, owner: object, now: datetime) -> Suspension | None:  # noqa: ARG002 - the interface
        is_new = row.state.suspension is None
        row.state, in_force = rules.suspend(replace(row.state, touched_at=now), self.suspension)
        if is_new and in_force is not None:
            row.announcements.append(self.announcement)
        return in_force


@dataclass(frozen=True, eq=False, slots=True)
class ToResume(OnMailbox[bool]):
    suspension: Suspension
    announcement: Announcement
    revision: Revision | None

    def apply(self, row: Row, owner: object, now: datetime) -> bool:  # noqa: ARG002 - the interface
        row.state, is_ended = rules.resume(replace(row.state, touched_at=now), self.suspension, self.revision, now)
        if is_ended:
            row.announcements.append(self.announcement)
        return is_ended


@dataclass(frozen=True, eq=False, slots=True)
class ToTell(Operation[None]):
    """Forget an announcement: it was published."""

    announcement_id: str


@dataclass(frozen=True, eq=False, slots=True)
class ToTakeOver(Operation[bool]):
    overdue: Overdue


@dataclass(frozen=True, slots=True)
class Seen:
    """Tells two sets of suspensions apart without reading them: how many, the latest, and a sum over their times."""

    count: int
    latest: int
    total: int


@dataclass(frozen=True, eq=False, slots=True)
class ToLook(Operation[tuple[News, Seen]]):
    """`seen`: what the last look saw of the suspensions; equal ones are not read once more."""

    seen: Seen | None


@dataclass(frozen=True, eq=False, slots=True)
class ToFind(Operation[Standing]):
    key: MailboxKey


@dataclass(frozen=True, eq=False, slots=True)
class ToListSuspended(Operation[list[Suspension]]):
    pass


@dataclass(frozen=True, eq=False, slots=True)
class ToListHeldUp(Operation[dict[MailboxKey, MailboxState]]):
    limit: int
    accounts: frozenset[str] | None = None


@dataclass(frozen=True, eq=False, slots=True)
class ToReadState(Operation[MailboxState]):
    key: MailboxKey


def checked_mailbox(key: MailboxKey) -> MailboxKey:
    """The key itself. Raises `ValueError` when the ledger cannot store it."""
    check_texts(*key)
    return key


def living(shares: Mapping[object, int]) -> dict[object, int]:
    """Those that have any."""
    return {owner: number for owner, number in shares.items() if number > 0}

"""The shared states of mailboxes in memory, by the very rules and operations of the database."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from worker.adapters.ledger.mailbox_looks import OVERDUE_AFTER
from worker.adapters.ledger.mailbox_operations import (
    OnMailbox,
    Row,
    ToEnter,
    ToKeep,
    ToPermit,
    ToProve,
    ToRefund,
    ToRest,
    ToResume,
    ToSuspend,
    checked_mailbox,
    living,
)
from worker.delivery.mailbox_rules import held_news
from worker.delivery.mailbox_states import (
    Announcement,
    Entry,
    Limited,
    MailboxKey,
    MailboxLimits,
    MailboxState,
    News,
    Overdue,
    Resting,
    Revision,
    Shut,
    Suspension,
)
from worker.delivery.ports import Clock
from worker.domain.vocabulary import Reason

T = TypeVar("T")


@dataclass
class MailboxStore:
    """What several owners share, as they would a database."""

    states: dict[MailboxKey, MailboxState] = field(default_factory=dict)
    shares: dict[MailboxKey, dict[object, int]] = field(default_factory=dict)
    announcements: dict[str, Overdue] = field(default_factory=dict)


class MemoryMailboxStates:
    """Implements `worker.delivery.mailbox_states.MailboxStates`.

    `begin` is called at the beginning of each call, and may refuse it; `is_alive` says of an owner whether it lives.
    """

    def __init__(
        self,
        store: MailboxStore,
        owner: object,
        clock: Clock,
        begin: Callable[[], None],
        is_alive: Callable[[object], bool],
    ) -> None:
        self._store = store
        self._owner = owner
        self._clock = clock
        self._begin = begin
        self._is_alive = is_alive

    async def enter(self, key: MailboxKey, revision: Revision, limits: MailboxLimits, connections: int) -> Entry:
        return self._apply(ToEnter(checked_mailbox(key), revision, limits, connections))

    async def keep(self, key: MailboxKey, connections: int) -> None:
        self._apply(ToKeep(checked_mailbox(key), connections))

    async def permit(self, key: MailboxKey, limits: MailboxLimits, recipients: int) -> Shut | Resting | Limited | None:
        return self._apply(ToPermit(checked_mailbox(key), limits, recipients))

    async def refund(self, key: MailboxKey, recipients: int) -> None:
        self._apply(ToRefund(checked_mailbox(key), recipients))

    async def prove(self, key: MailboxKey, revision: Revision) -> None:
        self._apply(ToProve(checked_mailbox(key), revision))

    async def rest(self, key: MailboxKey, until: datetime, reason: Reason) -> None:
        self._apply(ToRest(checked_mailbox(key), until, reason))

    async def suspend(self, suspension: Suspension, announcement: Announcement) -> Suspension | None:
        return self._apply(ToSuspend(checked_mailbox(suspension.key), suspension, announcement))

    async def resume(self, suspension: Suspension, announcement: Announcement) -> bool:
        return self._apply(ToResume(checked_mailbox(suspension.key), suspension, announcement))

    async def told(self, announcement_id: str) -> None:
        self._begin()
        self._store.announcements.pop(announcement_id, None)

    async def take_over(self, overdue: Overdue) -> bool:
        self._begin()
        if self._store.announcements.get(overdue.announcement.id) != overdue:
            return False
        self._store.announcements[overdue.announcement.id] = Overdue(overdue.announcement, self._clock.now())
        return True

    async def look(self) -> News:
        self._begin()
        now = self._clock.now()
        mine = {key: shares[self._owner] for key, shares in self._store.shares.items() if shares.get(self._owner)}
        held = {key: held_news(self._state(key), number, self._owner, now) for key, number in mine.items()}
        overdue = [each for each in self._store.announcements.values() if each.at < now - OVERDUE_AFTER]
        return News(held, self._suspended(), overdue)

    async def suspension(self, key: MailboxKey) -> Suspension | None:
        self._begin()
        return self._state(checked_mailbox(key)).suspension

    async def suspended(self) -> Sequence[Suspension]:
        return self._suspended()

    def _suspended(self) -> list[Suspension]:
        suspensions = [state.suspension for state in self._store.states.values() if state.suspension is not None]
        return sorted(suspensions, key=lambda suspension: suspension.since)

    def _state(self, key: MailboxKey) -> MailboxState:
        return self._store.states.get(key, MailboxState())

    def _apply(self, operation: OnMailbox[T]) -> T:
        self._begin()
        key, now = operation.key, self._clock.now()
        shares = self._store.shares.get(key, {})
        row = Row(self._state(key), {owner: n for owner, n in shares.items() if self._is_alive(owner)}, [])
        answer = operation.apply(row, self._owner, now)
        self._store.states[key] = row.state
        self._store.shares[key] = living(row.shares)
        for announcement in row.announcements:
            self._store.announcements.setdefault(announcement.id, Overdue(announcement, now))
        return answer

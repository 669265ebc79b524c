"""The shared states of mailboxes in memory, by the very rules and operations of the database."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar, cast

from worker.adapters.ledger.mailbox_looks import OVERDUE_AFTER
from worker.adapters.ledger.mailbox_operations import (
    OnMailbox,
    Row,
    Seen,
    ToFind,
    ToListHeldUp,
    ToListSuspended,
    ToLook,
    ToReadState,
    ToTakeOver,
    ToTell,
    living,
)
from worker.adapters.ledger.operations import Operation
from worker.delivery.mailbox_rules import held_news
from worker.delivery.mailbox_states import MailboxKey, MailboxState, News, Overdue, Standing, Suspension
from worker.delivery.ports import Clock

T = TypeVar("T")

_UNSEEN = Seen(0, 0, 0)


@dataclass
class MailboxStore:
    """What several owners share, as they would a database."""

    states: dict[MailboxKey, MailboxState] = field(default_factory=dict)
    shares: dict[MailboxKey, dict[object, int]] = field(default_factory=dict)
    announcements: dict[str, Overdue] = field(default_factory=dict)


class MemoryMailboxes:
    """Carries operations out on a store, for one owner.

    `begin` is called at the beginning of each, and may refuse it; `is_alive` says of an owner whether it lives.
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

    async def submit(self, operation: Operation[T]) -> T:
        """The operation's answer, at once."""
        self._begin()
        return cast(T, self._answer(operation))

    def _answer(self, operation: Operation[T]) -> object:
        match operation:
            case OnMailbox():
                return self._apply(operation)
            case ToFind():
                state = self._state(operation.key)
                return Standing(state.suspension, state.imap_refusal)
            case ToListSuspended():
                return self._suspended()
            case ToListHeldUp():
                return self._held_up(operation.limit, operation.accounts)
            case ToReadState():
                return self._state(operation.key)
            case ToLook():
                return self._look(), _UNSEEN
            case ToTell():
                self._store.announcements.pop(operation.announcement_id, None)
                return None
            case ToTakeOver():
                return self._taken_over(operation.overdue)
            case _:
                raise TypeError(f"{type(operation).__name__} is no operation on mailboxes")

    def _taken_over(self, overdue: Overdue) -> bool:
        if self._store.announcements.get(overdue.announcement.id) != overdue:
            return False
        self._store.announcements[overdue.announcement.id] = Overdue(overdue.announcement, self._clock.now())
        return True

    def _look(self) -> News:
        now = self._clock.now()
        held = {}
        for key, shares in self._store.shares.items():
            if mine := shares.get(self._owner):
                held[key] = held_news(self._state(key), mine, sum(shares.values()) - mine, self._owner, now)
        overdue = [each for each in self._store.announcements.values() if each.at < now - OVERDUE_AFTER]
        return News(held, self._suspended(), overdue)

    def _suspended(self) -> list[Suspension]:
        suspensions = [state.suspension for state in self._store.states.values() if state.suspension is not None]
        return sorted(suspensions, key=lambda suspension: suspension.since)

    def _held_up(self, limit: int, accounts: frozenset[str] | None) -> dict[MailboxKey, MailboxState]:
        now = self._clock.now()
        found = [
            (key, state)
            for key, state in self._store.states.items()
            if _is_held_up(state, now) and (accounts is None or key.account_id in accounts)
        ]
        found.sort(
            key=lambda each: each[1].suspension.since if each[1].suspension else datetime.max.replace(tzinfo=UTC)
        )
        return dict(found[:limit])

    def _state(self, key: MailboxKey) -> MailboxState:
        return self._store.states.get(key, MailboxState())

    def _apply(self, operation: OnMailbox[T]) -> T:
        key, now = operation.key, self._clock.now()
        shares = self._store.shares.get(key, {})
        row = Row(self._state(key), {owner: n for owner, n in shares.items() if self._is_alive(owner)}, [])
        answer = operation.apply(row, self._owner, now)
        self._store.states[key] = row.state
        self._store.shares[key] = living(row.shares)
        for announcement in row.announcements:
            self._store.announcements.setdefault(announcement.id, Overdue(announcement, now))
        return answer


def _is_held_up(state: MailboxState, now: datetime) -> bool:
    if state.suspension is not None or state.cap is not None:
        return True
    is_resting = state.resting is not None and state.resting.until > now
    return is_resting or (state.imap_refusal is not None and state.imap_refusal.until > now)

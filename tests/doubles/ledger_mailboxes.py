"""In-memory shared mailbox state, using the same rules as the database."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Concatenate, ParamSpec, TypeVar

from worker.adapters.ledger.mailbox_tables import OVERDUE_AFTER
from worker.adapters.ledger.mailboxes import LedgerMailboxStates
from worker.adapters.ledger.operations import check_texts
from worker.delivery.mailboxes.rules import SharedMailbox, held_news
from worker.delivery.mailboxes.state import MailboxKey, MailboxState, MailboxUpdates, StaleMessage, Standing, Suspension
from worker.delivery.ports import Clock

T = TypeVar("T")
P = ParamSpec("P")


@dataclass
class MailboxStore:
    """State shared by several owners, like a database."""

    states: dict[MailboxKey, MailboxState] = field(default_factory=dict)
    shares: dict[MailboxKey, dict[object, int]] = field(default_factory=dict)
    announcements: dict[str, StaleMessage] = field(default_factory=dict)


class MemoryMailboxStates(LedgerMailboxStates):
    """One owner's view of a store: the same calls apply the same rules, without a database.

    `begin` runs at the start of each call and may refuse it; `is_alive` says whether an owner is alive.
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

    async def apply(
        self, key: MailboxKey, rule: Callable[Concatenate[SharedMailbox, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        check_texts(*key)
        self._begin()
        now = self._clock.now()
        shares = {owner: n for owner, n in self._store.shares.get(key, {}).items() if self._is_alive(owner)}
        mailbox = SharedMailbox(self._owner, now, self._state(key), shares)
        answer = rule(mailbox, *args, **kwargs)
        self._store.states[key] = mailbox.state
        self._store.shares[key] = {owner: number for owner, number in mailbox.shares.items() if number > 0}
        for announcement in mailbox.announcements:
            self._store.announcements.setdefault(announcement.id, StaleMessage(announcement, now))
        return answer

    async def told(self, announcement_id: str) -> None:
        self._begin()
        self._store.announcements.pop(announcement_id, None)

    async def take_over(self, overdue: StaleMessage) -> bool:
        self._begin()
        if self._store.announcements.get(overdue.announcement.id) != overdue:
            return False
        self._store.announcements[overdue.announcement.id] = StaleMessage(overdue.announcement, self._clock.now())
        return True

    async def look(self) -> MailboxUpdates:
        self._begin()
        now = self._clock.now()
        held = {}
        for key, shares in self._store.shares.items():
            if mine := shares.get(self._owner):
                held[key] = held_news(self._state(key), mine, sum(shares.values()) - mine, self._owner, now)
        overdue = [each for each in self._store.announcements.values() if each.at < now - OVERDUE_AFTER]
        return MailboxUpdates(held, self._suspended(), overdue)

    async def standing(self, key: MailboxKey) -> Standing:
        check_texts(*key)
        self._begin()
        state = self._state(key)
        return Standing(state.suspension, state.imap_refusal)

    async def suspended(self) -> Sequence[Suspension]:
        self._begin()
        return self._suspended()

    async def held_up(self, limit: int, accounts: frozenset[str] | None = None) -> Mapping[MailboxKey, MailboxState]:
        check_texts(*(accounts or ()))
        self._begin()
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

    async def state(self, key: MailboxKey) -> MailboxState:
        check_texts(*key)
        self._begin()
        return self._state(key)

    def _suspended(self) -> list[Suspension]:
        suspensions = [state.suspension for state in self._store.states.values() if state.suspension is not None]
        return sorted(suspensions, key=lambda suspension: suspension.since)

    def _state(self, key: MailboxKey) -> MailboxState:
        return self._store.states.get(key, MailboxState())


def _is_held_up(state: MailboxState, now: datetime) -> bool:
    if state.suspension is not None or state.cap is not None:
        return True
    is_resting = state.resting is not None and state.resting.until > now
    return is_resting or (state.imap_refusal is not None and state.imap_refusal.until > now)

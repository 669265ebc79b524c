"""Places: what a worker has a fixed number of, shared out so that no account and no mailbox can take it from others.

Letters in hand, transmissions, connections, letters with files, resolver threads, copies and checks are all shared out
by this one rule. It is that of dynamic thresholds for shared buffers (Choudhury and Hahne, 1998): a holder gets one
place more only while it holds less than a fixed multiple of the places that are *free*. So who is alone may take a
large part, the more is taken the less anybody gets, and some places stay free for who comes next, also when servers
that never answer hold all the others.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

WaiterT = TypeVar("WaiterT")


@dataclass(frozen=True, slots=True)
class Holder:
    """On whose behalf a place is held. `mailbox_id` None: the account's letters through the platform's own relay, which
    has its own limits: there only the account's share counts.
    """

    account_id: str
    mailbox_id: str | None = None


@dataclass(frozen=True, slots=True)
class FairShares:
    """The part of all places, above 0 and at most 1, that one account or mailbox may hold when it is alone.

    Every holder may have one place as long as any is free.
    """

    account: float = 0.5
    mailbox: float = 0.25


USUAL = FairShares()

WHOLE = FairShares(1.0, 1.0)
"""No bounds: only the order in which those who wait are served is fair."""


class Exhausted(Enum):
    """Whose share is used up; of both, the account's."""

    ACCOUNT = "account"
    MAILBOX = "mailbox"


class Places:
    """Places of one kind, counted by account and mailbox. Belongs to one event loop."""

    def __init__(self, size: int, shares: FairShares = USUAL) -> None:
        self.size = size
        self._shares = shares
        self._held = 0
        self._of_account: Counter[str] = Counter()
        self._of_mailbox: Counter[Holder] = Counter()
        self._waiting: Queue[tuple[Holder, asyncio.Future[bool]]] = Queue()

    @property
    def held(self) -> int:
        """How many are taken."""
        return self._held

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return len(self._waiting)

    @property
    def most_of_account(self) -> int:
        """How many one account can hold at most: when nobody else holds any."""
        return max(1, int(self._shares.account * self.size))

    @property
    def most_of_mailbox(self) -> int:
        """How many one mailbox can hold at most: when nobody else holds any."""
        return max(1, int(self._shares.mailbox * self.size))

    def exhausted(self, holder: Holder) -> Exhausted | None:
        """Whose share leaves the holder no place now; None when there is one for it."""
        if not _has_room(self._of_account[holder.account_id], self._shares.account, self.size - self._held):
            return Exhausted.ACCOUNT
        if holder.mailbox_id is None:
            return None
        has_room = _has_room(self._of_mailbox[holder], self._shares.mailbox, self.size - self._held)
        return None if has_room else Exhausted.MAILBOX

    def take(self, holder: Holder) -> Exhausted | None:
        """Take a place, to `give_back`; or say whose share is used up."""
        exhausted = self.exhausted(holder)
        if exhausted is None:
            self._held += 1
            self._of_account[holder.account_id] += 1
            if holder.mailbox_id is not None:
                self._of_mailbox[holder] += 1
        return exhausted

    def give_back(self, holder: Holder) -> None:
        """The place is free."""
        self._held -= 1
        _count_down(self._of_account, holder.account_id)
        if holder.mailbox_id is not None:
            _count_down(self._of_mailbox, holder)
        self._serve()

    async def wait(self, holder: Holder, patience_s: float | None = None) -> bool:
        """Take a place, to `give_back`, waiting for it; False when none came in that time. Accounts are served in turn.

        Those who wait are passed by who has room left in a share of its own.
        """
        if self.take(holder) is None:
            return True
        loop = asyncio.get_running_loop()
        place: asyncio.Future[bool] = loop.create_future()
        waiter = (holder, place)
        self._waiting.add(holder.account_id, waiter)
        patience = None if patience_s is None else loop.call_later(patience_s, _resolve, place)
        try:
            return await place
        except BaseException:  # also cancellation: a place that came in the same moment is somebody else's
            if place.done() and not place.cancelled() and place.result():
                self.give_back(holder)
            raise
        finally:
            if patience is not None:
                patience.cancel()
            self._waiting.discard(holder.account_id, waiter)

    def place(self, holder: Holder, patience_s: float | None = None) -> "Placing":
        """A context that holds a place, having waited for it; it gives whether there is one."""
        return Placing(self, holder, patience_s)

    def _serve(self) -> None:
        while self._held < self.size and (waiter := self._waiting.pop(self._may_have)):
            waiter[1].set_result(True)

    def _may_have(self, waiter: tuple[Holder, asyncio.Future[bool]]) -> bool:
        """Whether this one gets a place, which is taken then."""
        holder, place = waiter
        return not place.done() and self.take(holder) is None


class Placing:
    """The use of a place while a context lasts. A class, because a generator costs several times as much."""

    __slots__ = ("_has_place", "_holder", "_patience_s", "_places")

    def __init__(self, places: Places, holder: Holder, patience_s: float | None) -> None:
        self._places = places
        self._holder = holder
        self._patience_s = patience_s
        self._has_place = False

    async def __aenter__(self) -> bool:
        self._has_place = await self._places.wait(self._holder, self._patience_s)
        return self._has_place

    async def __aexit__(self, *_: object) -> None:
        if self._has_place:
            self._places.give_back(self._holder)


class Queue(Generic[WaiterT]):
    """Who waits, by account: within one in the order of coming, and the accounts take turns."""

    def __init__(self) -> None:
        self._accounts: OrderedDict[str, list[WaiterT]] = OrderedDict()  # who was served least recently first

    def __len__(self) -> int:
        return sum(map(len, self._accounts.values()))

    def add(self, account_id: str, waiter: WaiterT) -> None:
        """Somebody begins to wait."""
        self._accounts.setdefault(account_id, []).append(waiter)

    def discard(self, account_id: str, waiter: WaiterT) -> None:
        """Somebody waits no longer, if they still did."""
        waiters = self._accounts.get(account_id, [])
        if waiter in waiters:
            waiters.remove(waiter)
        if not waiters:
            self._accounts.pop(account_id, None)

    def pop(self, is_served: Callable[[WaiterT], bool]) -> WaiterT | None:
        """The first of whom this is true, who waits no longer; their account is the last to be asked next time."""
        for account_id, waiters in self._accounts.items():
            for waiter in waiters:
                if is_served(waiter):
                    self._accounts.move_to_end(account_id)
                    self.discard(account_id, waiter)
                    return waiter
        return None


def _has_room(held: int, share: float, free: int) -> bool:
    return free > 0 and held * (1 - share) < share * free


def _count_down(counter: "Counter[WaiterT]", key: WaiterT) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]  # what nobody holds is forgotten


def _resolve(place: "asyncio.Future[bool]") -> None:
    """There was no place in time."""
    if not place.done():
        place.set_result(False)


_PLATFORM = Holder("")
_acting_for: ContextVar[Holder] = ContextVar("acting_for", default=_PLATFORM)


def act_for(holder: Holder) -> None:
    """Have what this task does from now on count as the holder's: where names are looked up, nobody passes it on."""
    _acting_for.set(holder)


def acting_for() -> Holder:
    """On whose behalf this task works; the platform's own unless `act_for` was called."""
    return _acting_for.get()

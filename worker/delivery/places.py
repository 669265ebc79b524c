"""Places: a fixed number of some resource, shared so that no account and no mailbox can take it from others.

Letters in hand, transmissions, connections, letters with files, resolver threads, copies and checks are all shared by
this one rule. It is that of dynamic thresholds for shared buffers (Choudhury and Hahne, 1998): a holder gets another
place only while it holds less than a fixed multiple of the places that are *free*. So a lone holder may take a large
part, each gets less the more are taken, and some places stay free for newcomers, even when servers that never answer
hold all the others.
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
    """The account and mailbox that hold a place. `mailbox_id` None: the account's letters through the platform's own
    relay, which has its own limits: there only the account's share counts.
    """

    account_id: str
    mailbox_id: str | None = None


@dataclass(frozen=True, slots=True)
class FairShares:
    """The fraction of all places, above 0 and at most 1, that an account or mailbox may hold when it is alone.

    Every holder may have one place as long as any is free.
    """

    account: float = 0.5
    mailbox: float = 0.25


USUAL = FairShares()

WHOLE = FairShares(1.0, 1.0)
"""No limits: only the order in which waiters are served is fair."""


class Exhausted(Enum):
    """Whose share is used up; the account's if both are."""

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
        """How many places are taken."""
        return self._held

    @property
    def waiting(self) -> int:
        """How many waiters there are."""
        return len(self._waiting)

    @property
    def most_of_account(self) -> int:
        """The most that one account can hold: when no other holds any."""
        return max(1, int(self._shares.account * self.size))

    @property
    def most_of_mailbox(self) -> int:
        """The most that one mailbox can hold: when no other holds any."""
        return max(1, int(self._shares.mailbox * self.size))

    def exhausted(self, holder: Holder) -> Exhausted | None:
        """Whose share leaves the holder no place now; None when it can have one."""
        if not _has_room(self._of_account[holder.account_id], self._shares.account, self.size - self._held):
            return Exhausted.ACCOUNT
        if holder.mailbox_id is None:
            return None
        has_room = _has_room(self._of_mailbox[holder], self._shares.mailbox, self.size - self._held)
        return None if has_room else Exhausted.MAILBOX

    def take(self, holder: Holder) -> Exhausted | None:
        """Take a place, to be returned with `give_back`; or say whose share is used up."""
        exhausted = self.exhausted(holder)
        if exhausted is None:
            self._held += 1
            self._of_account[holder.account_id] += 1
            if holder.mailbox_id is not None:
                self._of_mailbox[holder] += 1
        return exhausted

    def give_back(self, holder: Holder) -> None:
        """Return a place."""
        self._held -= 1
        _count_down(self._of_account, holder.account_id)
        if holder.mailbox_id is not None:
            _count_down(self._of_mailbox, holder)
        self._serve()

    async def wait(self, holder: Holder, patience_s: float | None = None) -> bool:
        """Wait for a place, to be returned with `give_back`; False when none was free in time. Accounts take turns.

        A waiter whose share is used up is overtaken by holders that have room left in theirs.
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
        except BaseException:  # also cancellation: a place granted at the same moment belongs to another waiter
            if place.done() and not place.cancelled() and place.result():
                self.give_back(holder)
            raise
        finally:
            if patience is not None:
                patience.cancel()
            self._waiting.discard(holder.account_id, waiter)

    def place(self, holder: Holder, patience_s: float | None = None) -> "Placing":
        """A context that waits for a place and holds it; it yields whether it has one."""
        return Placing(self, holder, patience_s)

    def _serve(self) -> None:
        while self._held < self.size and (waiter := self._waiting.pop(self._may_have)):
            waiter[1].set_result(True)

    def _may_have(self, waiter: tuple[Holder, asyncio.Future[bool]]) -> bool:
        """Take a place for this waiter; False when it may not have one."""
        holder, place = waiter
        return not place.done() and self.take(holder) is None


class Placing:
    """The use of a place inside a context. A class, because a generator costs several times as much."""

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
    """Waiters by account: first come, first served within one, and the accounts take turns."""

    def __init__(self) -> None:
        self._accounts: OrderedDict[str, list[WaiterT]] = OrderedDict()  # least recently served first

    def __len__(self) -> int:
        return sum(map(len, self._accounts.values()))

    def add(self, account_id: str, waiter: WaiterT) -> None:
        """Add a waiter."""
        self._accounts.setdefault(account_id, []).append(waiter)

    def discard(self, account_id: str, waiter: WaiterT) -> None:
        """Remove a waiter, if it is still there."""
        waiters = self._accounts.get(account_id, [])
        if waiter in waiters:
            waiters.remove(waiter)
        if not waiters:
            self._accounts.pop(account_id, None)

    def pop(self, is_served: Callable[[WaiterT], bool]) -> WaiterT | None:
        """Remove and return the first waiter for which this is true; its account goes to the end of the order."""
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
        del counter[key]  # drop the key of a holder without places


def _resolve(place: "asyncio.Future[bool]") -> None:
    """Time out: there was no place in time."""
    if not place.done():
        place.set_result(False)


_PLATFORM = Holder("")
_acting_for: ContextVar[Holder] = ContextVar("acting_for", default=_PLATFORM)


def act_for(holder: Holder) -> None:
    """Attribute this task's work to the holder from now on, for name lookups, where no caller hands the holder over."""
    _acting_for.set(holder)


def acting_for() -> Holder:
    """The holder that this task works for; the platform's own unless `act_for` was called."""
    return _acting_for.get()

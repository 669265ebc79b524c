"""Pools sessions for reuse by the next letter of the same route."""

import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from worker.adapters.smtp.errors import Failed
from worker.adapters.smtp.lanes import Lane, Lease, SessionOpener, Waiter
from worker.adapters.smtp.progress import Progress
from worker.adapters.smtp.session import Session
from worker.delivery.ports import Route
from worker.domain.transmission import DeliveryFailure, FailureKind
from worker.domain.vocabulary import Phase


class _Nothing(Enum):
    FREE = "neither a session nor a place"


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds over all routes, in addition to each route's own `max_connections`.

    `max_of_account`: above this number an account's sessions are closed after use, so that other accounts find room
    without waiting for a server to answer QUIT.
    """

    max_connections: int = 500
    max_of_account: int = 250
    max_idle_s: float = 60.0
    max_letters: int = 100
    close_s: float = 5.0


@dataclass(frozen=True, slots=True)
class PoolNumbers:
    """State of the pool, for metrics; `open` includes connections being opened or closed."""

    open: int
    idle: int
    waiting: int
    opened_total: int
    reused_total: int


class Pool:
    """Connections by route; letters are served first come, first served, and none holds two slots."""

    def __init__(self, opener: SessionOpener, limits: PoolLimits, monotonic: Callable[[], float]) -> None:
        self._opener = opener
        self._limits = limits
        self._monotonic = monotonic
        self._lanes: dict[tuple[str, str | None], Lane] = {}  # by account and mailbox, which never share one
        self._idle: dict[Session, Lane] = {}  # least recently used first
        self._waiting: set[Lane] = set()
        self._leases: set[Lease] = set()
        self._quitting: set[asyncio.Task[None]] = set()
        self._tickets = itertools.count()
        self._sweeping: asyncio.TimerHandle | None = None
        self._taken = 0
        self._of_account: Counter[str] = Counter()
        self._opened_total = 0
        self._reused_total = 0
        self._is_closed = False
        self._empty = asyncio.Event()
        self._empty.set()

    def numbers(self) -> PoolNumbers:
        """The current state of the pool."""
        return PoolNumbers(
            open=self._taken,
            idle=len(self._idle),
            waiting=sum(len(lane.waiters) for lane in self._waiting),
            opened_total=self._opened_total,
            reused_total=self._reused_total,
        )

    def lease(self, route: Route) -> "Leasing":
        """Context manager: waits for a slot among the route's connections. Raises `Failed` when the pool is closed."""
        return Leasing(self, route)

    async def take(self, route: Route) -> tuple[Lane, Lease]:
        """Take a slot, to be returned with `put_back`. Raises `Failed`."""
        if self._is_closed:
            raise _closed()
        lane = self._lane(route)
        lease = Lease(self, route, await self._place(lane))
        self._leases.add(lease)
        return lane, lease

    def put_back(self, lane: Lane, lease: Lease) -> None:
        """Return a slot and its connection."""
        self._leases.discard(lease)
        self._give_back(lane, lease.session)

    async def open(self, route: Route, progress: Progress) -> Session:
        """Open and count a session. Raises `Failed`, also when the pool is closed meanwhile."""
        session = await self._opener.open(route, progress)
        self._opened_total += 1
        if self._is_closed:
            session.abort()
            raise _closed()
        return session

    def sweep(self) -> None:
        """Close sessions that have been idle for too long, or have died."""
        self._sweeping = None
        oldest_s = self._monotonic() - self._limits.max_idle_s
        for session, lane in list(self._idle.items()):
            if session.idle_since_s <= oldest_s or not session.is_usable:
                self._dismiss(lane, session)
        self._schedule_sweep()
        self._serve()

    async def close_idle(self, owner: tuple[str, str | None], keep: int) -> None:
        """Close a mailbox's idle sessions until at most `keep` remain, and wait until they are closed."""
        lane = self._lanes.get(owner)
        if lane is None:
            return
        quitting: list[asyncio.Task[None]] = []
        while lane.idle and lane.open - len(quitting) > keep:
            quitting.append(self._dismiss(lane, lane.idle[0]))
        self._schedule_sweep()
        if quitting:
            await asyncio.wait(quitting)

    async def close(self) -> None:
        """Close all connections; letters in flight get some seconds before they are cut off."""
        self._is_closed = True
        for lane in self._waiting:
            while waiter := lane.first_waiter():
                lane.waiters.popleft()
                waiter.place.set_exception(_closed())
        self._waiting.clear()
        for session, lane in list(self._idle.items()):
            self._dismiss(lane, session)
        self._schedule_sweep()
        try:
            async with asyncio.timeout(self._limits.close_s):
                await self._empty.wait()
        except TimeoutError:
            for lease in self._leases:
                if lease.session is not None:
                    lease.session.abort()
            for task in self._quitting:
                task.cancel()
        await asyncio.gather(*self._quitting, return_exceptions=True)
        await asyncio.sleep(0)  # aborted transports close their sockets in the loop's next turn

    def _lane(self, route: Route) -> Lane:
        owner = (route.account_id, route.mailbox_id)
        lane = self._lanes.get(owner)
        if lane is None or lane.route != route:
            if lane is not None:
                self._retire(lane)
            lane = self._lanes[owner] = Lane(route)
        return lane

    def _retire(self, lane: Lane) -> None:
        """Retire the connections after a settings change: they serve no letters beyond those in flight."""
        lane.is_retired = True
        for session in list(lane.idle):
            self._dismiss(lane, session)

    async def _place(self, lane: Lane) -> Session | None:
        """An idle session, or None with the right to open one."""
        if not self._waiting:  # otherwise this letter would overtake the waiting ones
            place = self._free_place(lane)
            if not isinstance(place, _Nothing):
                return place
        waiter = Waiter(next(self._tickets), asyncio.get_running_loop().create_future())
        lane.waiters.append(waiter)
        self._waiting.add(lane)
        self._serve()
        try:
            return await waiter.place
        except asyncio.CancelledError:
            if waiter in lane.waiters:
                lane.waiters.remove(waiter)
            self._forget_if_empty(lane)
            if waiter.place.done() and not waiter.place.cancelled() and waiter.place.exception() is None:
                self._give_back(lane, waiter.place.result())  # granted at the moment of cancellation
            raise

    def _serve(self) -> None:
        """Grant free slots, first come, first served across all routes; then make room for those still waiting."""
        if not self._waiting:
            return
        starved = 0
        queue = [(waiter.ticket, lane) for lane in self._waiting if (waiter := lane.first_waiter())]
        heapq.heapify(queue)
        while queue:
            _, lane = heapq.heappop(queue)
            if self._grant(lane):
                if waiter := lane.first_waiter():
                    heapq.heappush(queue, (waiter.ticket, lane))
            elif lane.open < lane.route.max_connections:
                starved += 1
                if starved > len(self._quitting):
                    self._evict()
        self._waiting = {lane for lane in self._waiting if lane.waiters}

    def _grant(self, lane: Lane) -> bool:
        place = self._free_place(lane)
        if isinstance(place, _Nothing):
            return False
        lane.waiters.popleft().place.set_result(place)
        return True

    def _free_place(self, lane: Lane) -> "Session | _Nothing | None":
        """An idle session, None with the right to open one, or nothing."""
        session = self._take_idle(lane)
        if session is None:
            if lane.open >= lane.route.max_connections or self._taken >= self._limits.max_connections:
                return _Nothing.FREE
            lane.open += 1
            self._taken += 1
            self._of_account[lane.route.account_id] += 1
            self._empty.clear()
        return session

    def _take_idle(self, lane: Lane) -> Session | None:
        while lane.idle:
            session = lane.idle.pop()
            del self._idle[session]
            if session.is_usable:
                self._reused_total += 1
                return session
            session.abort()
            self._free(lane)
        return None

    def _evict(self) -> None:
        for session, lane in self._idle.items():
            self._dismiss(lane, session)
            return

    def _give_back(self, lane: Lane, session: Session | None) -> None:
        if session is None or not session.is_usable:
            if session is not None:
                session.abort()
            self._free(lane)
        elif lane.is_retired or self._is_closed or self._has_served(lane, session):
            self._quit(lane, session)
        else:
            session.idle_since_s = self._monotonic()
            lane.idle.append(session)
            self._idle[session] = lane
            self._schedule_sweep()
        self._serve()

    def _has_served(self, lane: Lane, session: Session) -> bool:
        """Whether to close the session instead of keeping it for another letter."""
        is_one_of_too_many = self._of_account[lane.route.account_id] > self._limits.max_of_account
        return is_one_of_too_many or session.letters >= self._limits.max_letters

    def _dismiss(self, lane: Lane, session: Session) -> "asyncio.Task[None]":
        lane.idle.remove(session)
        del self._idle[session]
        return self._quit(lane, session)

    def _quit(self, lane: Lane, session: Session) -> "asyncio.Task[None]":
        """QUIT in the background. The slot is free only afterwards, because servers count connections too."""
        task = asyncio.get_running_loop().create_task(session.quit(), name="smtp-quit")
        self._quitting.add(task)

        def done(ended: "asyncio.Task[None]") -> None:
            self._quitting.discard(ended)
            self._free(lane)
            self._serve()

        task.add_done_callback(done)
        return task

    def _free(self, lane: Lane) -> None:
        lane.open -= 1
        self._taken -= 1
        self._of_account[lane.route.account_id] -= 1
        if not self._of_account[lane.route.account_id]:
            del self._of_account[lane.route.account_id]
        if self._taken == 0:
            self._empty.set()
        self._forget_if_empty(lane)

    def _forget_if_empty(self, lane: Lane) -> None:
        owner = (lane.route.account_id, lane.route.mailbox_id)
        if not lane.open and not lane.waiters and self._lanes.get(owner) is lane:
            del self._lanes[owner]

    def _schedule_sweep(self) -> None:
        if not self._idle and self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        elif self._idle and self._sweeping is None:
            self._sweeping = asyncio.get_running_loop().call_later(self._limits.max_idle_s / 2, self.sweep)


class Leasing:
    """The lease of one connection for one letter. A class, because a generator costs several times as much."""

    __slots__ = ("_pool", "_route", "_taken")

    def __init__(self, pool: Pool, route: Route) -> None:
        self._pool = pool
        self._route = route
        self._taken: tuple[Lane, Lease] | None = None

    async def __aenter__(self) -> Lease:
        self._taken = await self._pool.take(self._route)
        return self._taken[1]

    async def __aexit__(self, *_: object) -> None:
        # No await here, where a cancellation would lose an outcome on its way to the caller.
        if self._taken is not None:
            self._pool.put_back(*self._taken)


def _closed() -> Failed:
    return Failed(
        DeliveryFailure(Phase.CONNECT, FailureKind.DISCONNECTED, detail="the worker is closing its connections")
    )

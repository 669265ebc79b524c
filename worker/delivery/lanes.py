"""Lanes: each mailbox's own way through a worker, so that none can delay another.

A lane lets as many letters through at a time as the mailbox may have connections, and lets a few more wait. The rest
of a backlog is sent to a delay queue, each for about as long as those before it will take: so a backlog of 100,000
letters holds neither the worker's places nor its time, and comes back in the order in which it can be served.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from worker.delivery.ports import Clock
from worker.domain.vocabulary import Reason

_MAX_WAITING = 16
_FIRST_GUESS_S = 0.5
_SMOOTHING = 0.2
_MAX_LANES = 50_000


@dataclass(frozen=True, slots=True)
class Closed:
    """The lane lets nothing through for now; `wait_s` None: until somebody acts. `reason` None: it is only busy."""

    wait_s: float | None
    reason: Reason | None


class Lane:
    """One mailbox's lane in this worker."""

    def __init__(self, clock: Clock, capacity: int) -> None:
        self._clock = clock
        self._capacity = capacity
        self._places = asyncio.Semaphore(capacity)
        self._service_s = _FIRST_GUESS_S
        self._backlog_ends = 0.0
        self._paused_until = 0.0
        self._pause_reason: Reason | None = None
        self.suspended_for: Reason | None = None
        self.busy = 0
        self.waiting = 0

    @property
    def is_idle(self) -> bool:
        """True when forgetting the lane would forget nothing."""
        now = self._clock.monotonic()
        is_open = self.suspended_for is None and self._paused_until <= now and self._backlog_ends <= now
        return is_open and not self.busy and not self.waiting

    def closed(self) -> Closed | None:
        """Why a letter cannot come in now, if it cannot. A letter that is told to wait has its turn reserved."""
        if obstacle := self.obstacle():
            return obstacle
        if self.waiting >= _MAX_WAITING:
            return Closed(self._reserve(self._clock.monotonic()), None)
        return None

    def obstacle(self) -> Closed | None:
        """Why nothing at all may leave this mailbox now, if that is so."""
        if self.suspended_for is not None:
            return Closed(None, self.suspended_for)
        left_s = self._paused_until - self._clock.monotonic()
        return Closed(left_s, self._pause_reason) if left_s > 0 else None

    def _reserve(self, now: float) -> float:
        turn = max(self._backlog_ends, now + self._service_s * self.waiting / self._capacity)
        self._backlog_ends = turn + self._service_s / self._capacity
        return turn - now

    def pause(self, seconds: float, reason: Reason) -> None:
        """Let nothing through for a while."""
        self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)
        self._pause_reason = reason

    def suspend(self, reason: Reason) -> bool:
        """Let nothing through until the mailbox's settings change; True when the lane was open before."""
        was_open = self.suspended_for is None
        self.suspended_for = reason
        return was_open

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place and hold it."""
        self.waiting += 1
        try:
            await self._places.acquire()
        finally:
            self.waiting -= 1
        self.busy += 1
        began = self._clock.monotonic()
        try:
            yield
        finally:
            self.busy -= 1
            self._places.release()
            self._service_s += _SMOOTHING * (self._clock.monotonic() - began - self._service_s)


class Lanes:
    """All lanes of a worker, by route or copy target: a mailbox whose server or secret changed has a new, open lane."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lanes: OrderedDict[Hashable, Lane] = OrderedDict()

    def of(self, key: Hashable, capacity: int) -> Lane:
        """The lane of a key; the capacity counts when the lane is new."""
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(self._clock, capacity)
            self._forget_idle_ones()
        self._lanes.move_to_end(key)
        return lane

    def _forget_idle_ones(self) -> None:
        while len(self._lanes) > _MAX_LANES:
            key, lane = next(iter(self._lanes.items()))
            if not lane.is_idle:
                break
            del self._lanes[key]

    @property
    def waiting(self) -> int:
        """Letters that wait for a place."""
        return sum(lane.waiting for lane in self._lanes.values())

    def suspended(self) -> dict[str, float]:
        """How many lanes are suspended, by reason."""
        counts: dict[str, float] = {}
        for lane in self._lanes.values():
            if lane.suspended_for is not None:
                counts[lane.suspended_for] = counts.get(lane.suspended_for, 0) + 1
        return counts

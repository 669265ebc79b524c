"""Lanes: each mailbox's own way through a worker, so that none can delay another.

A lane lets as many letters through at a time as the mailbox may have connections, and lets a few more wait, for
seconds. The rest of a backlog goes to delay queues, each letter with a turn: about the moment at which those before
it will be through. A turn stays with its letter until it has come, because the delay queues only know a few waiting
times and bring a letter back early, several times over. So a backlog of 100,000 letters holds neither the worker's
places nor its time, and keeps its mailbox busy all the same.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from worker.delivery.ports import Clock
from worker.domain.vocabulary import Reason

_WAITING_PER_PLACE = 8
_PATIENCE_S = 5.0  # as long as the shortest delay queue: who has to wait longer waits there
_FIRST_GUESS_S = 0.5
_SMOOTHING = 0.2
_MAX_LANES = 50_000
_FORGOTTEN_AFTER_S = 24 * 3_600.0  # whoever still waited for the mailbox would have looked by now
_LOOKED_AT = 4


@dataclass(frozen=True, slots=True)
class Closed:
    """The lane lets a letter not in for now.

    `wait_s` None: until somebody acts. `reason` None: it is only busy, and `turn` is the letter's.
    """

    wait_s: float | None
    reason: Reason | None = None
    turn: datetime | None = None


class Lane:
    """One mailbox's lane in this worker."""

    def __init__(self, clock: Clock, capacity: int, patience_s: float, resumed_from: Reason | None = None) -> None:
        self._clock = clock
        self._capacity = capacity
        self._patience_s = patience_s
        self._places = asyncio.Semaphore(capacity)
        self._service_s = _FIRST_GUESS_S
        self._backlog_ends = clock.now()
        self._paused_until = 0.0
        self._pause_reason: Reason | None = None
        self._resumed_from = resumed_from
        self.suspended_for: Reason | None = None
        self.busy = 0
        self.waiting = 0

    @property
    def is_idle(self) -> bool:
        """True when forgetting the lane would forget nothing."""
        is_open = self.obstacle() is None and self._backlog_ends <= self._clock.now()
        return is_open and not self.is_occupied

    @property
    def is_occupied(self) -> bool:
        """True while letters are in it."""
        return self.busy > 0 or self.waiting > 0

    def obstacle(self) -> Closed | None:
        """Why nothing at all may leave this mailbox now, if that is so."""
        if self.suspended_for is not None:
            return Closed(None, self.suspended_for)
        left_s = self._paused_until - self._clock.monotonic()
        return Closed(left_s, self._pause_reason) if left_s > 0 else None

    def pause(self, seconds: float, reason: Reason) -> None:
        """Let nothing through for a while; of two pauses the one that lasts longer counts."""
        until = self._clock.monotonic() + seconds
        if until > self._paused_until:
            self._paused_until, self._pause_reason = until, reason

    def suspend(self, reason: Reason) -> bool:
        """Let nothing through until the mailbox's settings change; True when the lane was open before."""
        was_open = self.suspended_for is None
        if was_open:
            self.suspended_for = reason
        return was_open

    def resumed_from(self) -> Reason | None:
        """Why the mailbox had been suspended before its settings were changed; told only once."""
        reason, self._resumed_from = self._resumed_from, None
        return reason

    @asynccontextmanager
    async def place(self, turn: datetime | None = None) -> AsyncIterator[Closed | None]:
        """Hold a place, waiting for it if that takes only moments; gives why there is none. `turn`: of the letter."""
        closed = self._closed(turn) or await self._come_in(turn)
        if closed is not None:
            yield closed
            return
        self.busy += 1
        began, obstacle = self._clock.monotonic(), self.obstacle()  # what those before us met concerns us too
        try:
            yield obstacle
        finally:
            self.busy -= 1
            self._places.release()
            if obstacle is None:
                self._service_s += _SMOOTHING * (self._clock.monotonic() - began - self._service_s)

    def _closed(self, turn: datetime | None) -> Closed | None:
        """Why a letter cannot even wait here. Those whose turn has come find room longer than others."""
        if obstacle := self.obstacle():
            return obstacle
        is_due = turn is not None and turn <= self._clock.now()
        room = _WAITING_PER_PLACE * self._capacity // (1 if is_due else 2)
        ahead = self.busy + self.waiting + 1 - self._capacity
        if ahead > 0 and (self.waiting >= room or self._service_s * ahead / self._capacity > self._patience_s):
            return self._busy(turn)
        return None

    async def _come_in(self, turn: datetime | None) -> Closed | None:
        self.waiting += 1
        try:
            async with asyncio.timeout(self._patience_s):
                await self._places.acquire()
        except TimeoutError:
            return self._busy(turn)
        finally:
            self.waiting -= 1
        return None

    def _busy(self, turn: datetime | None) -> Closed:
        now = self._clock.now()
        if turn is None or turn <= now:
            turn = self._reserve(now)
        return Closed((turn - now).total_seconds(), turn=turn)

    def _reserve(self, now: datetime) -> datetime:
        """The next turn: each one takes as long as letters took lately."""
        ahead_s = self._service_s * self.waiting / self._capacity
        turn = max(self._backlog_ends, now + timedelta(seconds=ahead_s))
        self._backlog_ends = turn + timedelta(seconds=self._service_s / self._capacity)
        return turn


@dataclass(slots=True)
class _Kept:
    lane: Lane
    settings: object
    used_at: float


class Lanes:
    """All lanes of a worker: one for each mailbox, and a new, open one as soon as the mailbox's settings change."""

    def __init__(self, clock: Clock, patience_s: float = _PATIENCE_S) -> None:
        self._clock = clock
        self._patience_s = patience_s
        self._lanes: OrderedDict[Hashable, _Kept] = OrderedDict()

    def of(self, mailbox: Hashable, settings: object, capacity: int) -> Lane:
        """The lane of a mailbox; `settings` are all that somebody may change to have letters leave again."""
        kept = self._lanes.get(mailbox)
        if kept is None or kept.settings != settings:
            before = kept.lane.suspended_for if kept else None
            kept = _Kept(Lane(self._clock, capacity, self._patience_s, before), settings, 0.0)
            self._lanes[mailbox] = kept
            self._forget_some()
        kept.used_at = self._clock.monotonic()
        self._lanes.move_to_end(mailbox)
        return kept.lane

    def _forget_some(self) -> None:
        """Look at the lanes that were not used for the longest time: a few for each new one keep the number bounded."""
        for _ in range(min(_LOOKED_AT, len(self._lanes) - 1)):
            mailbox, kept = next(iter(self._lanes.items()))
            is_old = kept.used_at + _FORGOTTEN_AFTER_S <= self._clock.monotonic() and not kept.lane.is_occupied
            if not is_old and len(self._lanes) <= _MAX_LANES:
                return
            if is_old or kept.lane.is_idle:
                del self._lanes[mailbox]
            else:
                self._lanes.move_to_end(mailbox)  # so that it does not hide the others

    def __len__(self) -> int:
        return len(self._lanes)

    @property
    def waiting(self) -> int:
        """Letters that wait for a place."""
        return sum(kept.lane.waiting for kept in self._lanes.values())

    def suspended(self) -> dict[str, float]:
        """How many lanes are suspended, by reason."""
        counts: dict[str, float] = {}
        for kept in self._lanes.values():
            if reason := kept.lane.suspended_for:
                counts[reason] = counts.get(reason, 0) + 1
        return counts

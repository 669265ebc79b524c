"""Lanes: each mailbox's own path through a worker, so that none can delay another.

A lane admits as many letters at a time as the mailbox may have connections, and queues a few more for seconds. The
rest of a backlog goes to delay queues (`backlog.py`). So a backlog of 100,000 letters occupies neither the worker's
places nor its time, and still keeps its mailbox busy.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from worker.delivery.mailboxes.backlog import Backlog, Backlogged, CoolingDown
from worker.delivery.ports import Clock
from worker.domain.vocabulary import Reason

_WAITING_PER_PLACE = 8
_PATIENCE_S = 5.0  # as long as the shortest delay queue: a letter that has to wait longer waits there
_MAX_LANES = 50_000
_FORGOTTEN_AFTER_S = 24 * 3_600.0  # a letter still waiting for the mailbox would have returned by now
_LOOKED_AT = 4


class Lane:
    """One mailbox's lane in this worker. `most`: the most letters it can have in hand, including waiting ones."""

    def __init__(
        self, clock: Clock, capacity: int, patience_s: float, most: int | None = None, token: str | None = None
    ) -> None:
        self._clock = clock
        self._room = _WAITING_PER_PLACE * capacity
        if most is not None:
            self._room = min(self._room, max(most - capacity, 1))
        self._capacity = self._width = capacity
        self._patience_s = patience_s
        self._waiters: deque[asyncio.Future[bool]] = deque()
        self.backlog = Backlog(clock, capacity, token)
        self._paused_until = 0.0
        self._pause_reason: Reason | None = None
        self.fingerprint = ""
        self.busy = 0
        self.waiting = 0

    @property
    def is_idle(self) -> bool:
        """True when the lane holds no state worth keeping."""
        is_open = self.obstacle() is None and self.backlog.is_over
        return is_open and not self.is_occupied

    @property
    def is_occupied(self) -> bool:
        """True while letters are in it."""
        return self.busy > 0 or self.waiting > 0

    def obstacle(self) -> CoolingDown | None:
        """The cooldown that keeps every letter of this mailbox from leaving, if there is one."""
        left_s = self._paused_until - self._clock.monotonic()
        return CoolingDown(self._pause_reason, left_s) if self._pause_reason is not None and left_s > 0 else None

    def pause(self, seconds: float, reason: Reason) -> None:
        """Start a cooldown; of two the one that ends later counts."""
        until = self._clock.monotonic() + seconds
        if until > self._paused_until:
            self._paused_until, self._pause_reason = until, reason

    def hold(self, until: datetime) -> None:
        """Admit nothing before then, without reporting it: the letters get turns after it."""
        self.backlog.hold(until)

    def resize(self, width: int) -> None:
        """Admit this many letters at a time, up to the lane's maximum; those already in stay."""
        self._width = min(width, self._capacity)
        self._admit()

    async def acquire(self, turn: datetime | None = None) -> "Place | CoolingDown | Backlogged":
        """Take a place, to be `release`d, waiting moments for it at most. `turn`: the letter's."""
        if denied := self.denied(turn):
            return denied
        if self._waiters or self.busy >= self._width:
            if denied := await self._come_in(turn):
                return denied
        else:
            self.busy += 1
        if barred := self.barred(turn):
            self.leave()
            return barred
        return Place(self)

    def leave(self) -> None:
        """Free the place."""
        self.busy -= 1
        self._admit()

    def barred(self, turn: datetime | None) -> CoolingDown | Backlogged | None:
        """Why a letter that has a place may not use it: an obstacle met by earlier letters applies to it too."""
        return self.obstacle() or self._held(turn)

    @contextmanager
    def approaching(self) -> Iterator[None]:
        """Count one letter, inside the context, that waits for something else first: it takes room and delays none."""
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    def denied(self, turn: datetime | None) -> CoolingDown | Backlogged | None:
        """Why a letter cannot even wait here. A letter that is due finds more room than others."""
        if obstacle := self.obstacle() or self._held(turn):
            return obstacle
        is_due = turn is not None and turn <= self._clock.now()
        room = self._room if is_due else min(self._room, _WAITING_PER_PLACE * self._capacity // 2)
        ahead = self.busy + self.waiting + 1 - self._width
        if ahead > 0 and (self.waiting >= room or self.backlog.service_s * ahead / self._width > self._patience_s):
            return self.wait_for_turn(turn)
        return None

    def _held(self, turn: datetime | None) -> Backlogged | None:
        return self.wait_for_turn(turn) if self.backlog.is_held else None

    def next_turn(self, turn: datetime) -> datetime | None:
        """The turn of a letter that finds no room, its own while that is still ahead; None: let it in."""
        denied = None if self.obstacle() else self.denied(turn)
        return denied.not_before if isinstance(denied, Backlogged) else None

    async def _come_in(self, turn: datetime | None) -> Backlogged | None:
        loop = asyncio.get_running_loop()
        place: asyncio.Future[bool] = loop.create_future()
        self.waiting += 1
        self._waiters.append(place)
        self._admit()
        patience = loop.call_later(self._patience_s, _resolve, place, False)
        try:
            is_admitted = await place
            return None if is_admitted else self._give_up(place, turn)
        except BaseException:  # also cancellation: a place granted at the same moment belongs to another letter
            self._give_back(place)
            raise
        finally:
            patience.cancel()
            self.waiting -= 1

    def _give_up(self, place: "asyncio.Future[bool]", turn: datetime | None) -> Backlogged:
        if place in self._waiters:
            self._waiters.remove(place)
        return self.wait_for_turn(turn)

    def _give_back(self, place: "asyncio.Future[bool]") -> None:
        if place in self._waiters:
            self._waiters.remove(place)
        elif place.done() and not place.cancelled() and place.result():
            self.busy -= 1
            self._admit()

    def _admit(self) -> None:
        while self._waiters and self.busy < self._width:
            self.busy += _resolve(self._waiters.popleft(), True)

    def wait_for_turn(self, turn: datetime | None) -> Backlogged:
        """The denial of a letter that finds no room; a letter whose turn is still ahead keeps it."""
        return self.backlog.wait_for_turn(turn, self.waiting)


class Place:
    """One letter's place in a lane.

    A class, without a task or timer of its own where there is room: every letter takes one.
    """

    __slots__ = ("_began_s", "_is_held", "_lane")

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._is_held = True
        self._began_s = lane.backlog.began()

    def __enter__(self) -> None:
        """Nothing to do: the place is taken already."""

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Hand the place to the next letter. Idempotent."""
        if self._is_held:
            self._is_held = False
            self._lane.backlog.ended(self._began_s)
            self._lane.leave()


def _resolve(place: "asyncio.Future[bool]", is_admitted: bool) -> bool:
    """Answer a waiter; False when it is gone."""
    if place.done():
        return False
    place.set_result(is_admitted)
    return True


@dataclass(slots=True)
class _Kept:
    lane: Lane
    settings: object
    used_at: float


class Lanes:
    """All lanes of a worker: one per mailbox, and a new, open one as soon as the mailbox's settings change."""

    def __init__(self, clock: Clock, patience_s: float = _PATIENCE_S) -> None:
        self._clock = clock
        self._patience_s = patience_s
        self._lanes: OrderedDict[Hashable, _Kept] = OrderedDict()

    def of(
        self, mailbox: Hashable, settings: object, capacity: int, most: int | None = None, token: str | None = None
    ) -> Lane:
        """The lane of a mailbox; `settings` are all those whose change may allow letters to leave again.

        `most`: how many of the worker's places the mailbox can hold; beyond them the lane is closed, so that it admits
        no letter only to send it away. `token`: its backlog's, in headers.
        """
        kept = self._lanes.get(mailbox)
        if kept is None or kept.settings != settings:
            kept = _Kept(Lane(self._clock, capacity, self._patience_s, most, token), settings, 0.0)
            self._lanes[mailbox] = kept
            self._forget_some()
        kept.used_at = self._clock.monotonic()
        self._lanes.move_to_end(mailbox)
        return kept.lane

    def _forget_some(self) -> None:
        """Check the least recently used lanes: dropping a few for each new one bounds their number."""
        for _ in range(min(_LOOKED_AT, len(self._lanes) - 1)):
            mailbox, kept = next(iter(self._lanes.items()))
            is_old = kept.used_at + _FORGOTTEN_AFTER_S <= self._clock.monotonic() and not kept.lane.is_occupied
            if not is_old and len(self._lanes) <= _MAX_LANES:
                return
            if is_old or kept.lane.is_idle:
                del self._lanes[mailbox]
            else:
                self._lanes.move_to_end(mailbox)  # so that it does not hide the others

    def pause(self, mailbox: Hashable, seconds: float, reason: Reason) -> None:
        """Start a cooldown for a mailbox, if it has a lane here."""
        if kept := self._lanes.get(mailbox):
            kept.lane.pause(seconds, reason)

    def next_turn(self, mailbox: Hashable, turn: datetime) -> datetime | None:
        """When a letter with this turn may return, if it would now be denied without a report; None: let it in."""
        kept = self._lanes.get(mailbox)
        return kept.lane.next_turn(turn) if kept else None

    def __len__(self) -> int:
        return len(self._lanes)

    @property
    def waiting(self) -> int:
        """Letters that wait for a place."""
        return sum(kept.lane.waiting for kept in self._lanes.values())

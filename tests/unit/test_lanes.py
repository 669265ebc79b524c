"""Lanes: who may come in, who waits how long, and what is forgotten."""

import asyncio
import heapq
from datetime import datetime, timedelta
from itertools import count

import pytest

from tests.doubles.clock import SteppedClock
from worker.delivery.mailboxes.backlog import AtCapacity, Backlogged, CoolingDown, Denied
from worker.delivery.mailboxes.lanes import Lane, Lanes, Place
from worker.domain.backoff import backlog_level_s
from worker.domain.vocabulary import Reason

MAILBOX = ("acme", "mb-support")


def a_lane(clock: SteppedClock, capacity: int = 2, patience_s: float = 5) -> Lane:
    return Lanes(clock, patience_s).of(MAILBOX, "settings", capacity)


class Letters:
    """Letters that stay in a lane until they are let out."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._may_leave = asyncio.Event()
        self._tasks: list[asyncio.Task[Denied | None]] = []

    async def enter(self, number: int = 1, turn: datetime | None = None) -> list[Denied | None]:
        """Let some more try; gives what those heard who are out again."""
        fresh = [asyncio.create_task(self._stay(turn)) for _ in range(number)]
        self._tasks += fresh
        for _ in range(3):
            await asyncio.sleep(0)
        return [task.result() for task in fresh if task.done()]

    async def _stay(self, turn: datetime | None) -> Denied | None:
        place = await self._lane.acquire(turn)
        if isinstance(place, CoolingDown | Backlogged):
            return place
        with place:
            await self._may_leave.wait()
        return None

    def cancel(self, index: int) -> None:
        self._tasks[index].cancel()

    async def leave(self) -> list[Denied | BaseException | None]:
        self._may_leave.set()
        return await asyncio.gather(*self._tasks, return_exceptions=True)


async def test_as_many_come_in_as_there_are_connections_and_a_few_wait() -> None:
    lane = a_lane(SteppedClock())
    letters = Letters(lane)

    turned_away = await letters.enter(30)

    assert (lane.busy, lane.waiting) == (2, 8)
    assert len(turned_away) == 20
    await letters.leave()
    assert (lane.busy, lane.waiting) == (0, 0)
    assert lane.is_occupied is False


async def test_no_more_wait_than_the_mailbox_can_have_in_hand() -> None:
    """If a mailbox holds its share of a worker, then its lane is closed to letters whose turn has come, too."""
    clock = SteppedClock()
    lane = Lanes(clock).of(MAILBOX, "settings", 2, most=5)
    letters = Letters(lane)

    await letters.enter(30, turn=clock.now())

    assert (lane.busy, lane.waiting) == (2, 3)
    await letters.leave()


async def test_those_turned_away_get_turns_one_after_the_other() -> None:
    clock = SteppedClock()
    letters = Letters(a_lane(clock))
    await letters.enter(10)

    turns = [denied.not_before for denied in await letters.enter(5) if isinstance(denied, Backlogged)]

    assert len(set(turns)) == 5
    assert turns == sorted(turns)
    assert turns[0] >= clock.now() + timedelta(seconds=1)
    await letters.leave()


async def test_a_turn_that_has_not_come_is_kept_and_one_that_has_finds_more_room() -> None:
    """Delay queues bring letters back early; each time to go to the end of the line would starve them."""
    clock = SteppedClock()
    letters = Letters(a_lane(clock))
    await letters.enter(10)
    later = clock.now() + timedelta(seconds=500)

    [early] = await letters.enter(turn=later)
    assert isinstance(early, Backlogged)
    assert early.not_before == later
    assert early.wait_s == 500

    assert await letters.enter(turn=clock.now()) == []
    await letters.leave()


async def test_a_waiter_that_is_cancelled_leaves_no_place_behind() -> None:
    lane = a_lane(SteppedClock(), capacity=1)
    letters = Letters(lane)
    await letters.enter(3)
    letters.cancel(1)
    letters.cancel(0)

    await letters.leave()

    assert (lane.busy, lane.waiting) == (0, 0)
    assert await Letters(lane).enter() == []
    assert lane.busy == 1


async def test_a_waiter_whose_place_does_not_come_goes_to_a_delay_queue() -> None:
    """Else seven slow mailboxes would hold all of a worker's messages."""
    lane = a_lane(SteppedClock(), capacity=1, patience_s=0.01)
    letters = Letters(lane)
    await letters.enter(1)
    waiter = asyncio.create_task(letters._stay(None))

    assert isinstance(await waiter, AtCapacity)
    assert lane.waiting == 0
    await letters.leave()


async def test_a_slow_mailbox_holds_only_its_connections() -> None:
    """If letters take half a minute each, none waits in the worker for the next place."""
    clock = SteppedClock()
    lane = a_lane(clock)
    for _ in range(3):
        letters = Letters(lane)
        await letters.enter(2)
        clock.step(30)
        await letters.leave()
    letters = Letters(lane)

    turned_away = await letters.enter(10)

    assert (lane.busy, lane.waiting) == (2, 0)
    assert len(turned_away) == 8
    await letters.leave()


async def test_what_those_before_met_concerns_those_who_waited() -> None:
    lane = a_lane(SteppedClock(), capacity=1)
    letters = Letters(lane)
    await letters.enter(2)
    lane.pause(60, Reason.RATE_LIMITED)

    _, second = await letters.leave()

    assert isinstance(second, CoolingDown)
    assert (second.reason, second.wait_s) == (Reason.RATE_LIMITED, 60)


def test_of_two_pauses_the_longer_one_counts() -> None:
    clock = SteppedClock()
    lane = a_lane(clock)
    lane.pause(600, Reason.QUOTA_EXCEEDED)
    lane.pause(20, Reason.CONNECT_FAILED)

    assert lane.obstacle() == CoolingDown(Reason.QUOTA_EXCEEDED, 600)
    clock.step(600)
    assert lane.obstacle() is None


def test_changed_settings_have_a_lane_of_their_own() -> None:
    clock = SteppedClock()
    lanes = Lanes(clock)
    lanes.of(MAILBOX, "old server", 2).pause(600, Reason.CONNECT_FAILED)

    assert lanes.of(MAILBOX, "new server", 2).obstacle() is None
    assert len(lanes) == 1


def test_lanes_that_nobody_asks_for_are_forgotten_also_those_that_rest() -> None:
    clock = SteppedClock()
    lanes = Lanes(clock)
    lanes.of("deleted", 1, 2).pause(48 * 3600, Reason.QUOTA_EXCEEDED)
    clock.step(24 * 3600)

    lanes.of("another", 1, 2)

    assert len(lanes) == 1


def test_the_number_of_lanes_is_bounded_although_some_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot be forgotten must not keep the others from being forgotten."""
    monkeypatch.setattr("worker.delivery.mailboxes.lanes._MAX_LANES", 50)
    lanes = Lanes(SteppedClock())
    resting = lanes.of("resting", 1, 2)
    resting.pause(600, Reason.QUOTA_EXCEEDED)

    for number in range(500):
        lanes.of(number, 1, 2)

    assert len(lanes) <= 51
    assert lanes.of("resting", 1, 2) is resting


async def test_a_lane_that_becomes_wider_lets_those_in_who_wait() -> None:
    lane = a_lane(SteppedClock(), capacity=3)
    lane.resize(1)
    letters = Letters(lane)
    await letters.enter(4)
    assert (lane.busy, lane.waiting) == (1, 3)

    lane.resize(3)
    assert await letters.enter(0) == []

    assert (lane.busy, lane.waiting) == (3, 1)
    await letters.leave()
    assert (lane.busy, lane.waiting) == (0, 0)


async def test_a_lane_that_becomes_narrower_keeps_those_who_are_in() -> None:
    lane = a_lane(SteppedClock(), capacity=2)
    letters = Letters(lane)
    await letters.enter(2)

    lane.resize(1)

    assert await letters.enter(1) == []
    assert (lane.busy, lane.waiting) == (2, 1)
    await letters.leave()
    assert (lane.busy, lane.waiting) == (0, 0)


async def test_a_held_lane_gives_turns_after_its_moment_and_a_pace() -> None:
    """If a limit of 30 a minute is reached, then the letters come one every two seconds from then on."""
    clock = SteppedClock()
    lane = a_lane(clock)
    lane.backlog.pace_s = 2.0
    held_until = clock.now() + timedelta(seconds=40)
    lane.hold(held_until)

    turns = [denied.not_before for denied in await Letters(lane).enter(3) if isinstance(denied, Backlogged)]

    assert turns == [held_until + timedelta(seconds=2 * number) for number in range(3)]
    clock.step(40)
    assert await Letters(lane).enter(1) == []


class Simulation:
    """Time that passes as soon as nobody has anything to do before."""

    def __init__(self, clock: SteppedClock) -> None:
        self._clock = clock
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = count()

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._clock.monotonic() + seconds, next(self._numbers), future))
        await future

    async def run(self, *tasks: "asyncio.Task[None]") -> None:
        while not all(task.done() for task in tasks):
            for _ in range(4):
                await asyncio.sleep(0)
            if self._sleepers:
                due, _, future = heapq.heappop(self._sleepers)
                self._clock.step(max(due - self._clock.monotonic(), 0))
                future.set_result(None)


@pytest.mark.parametrize("service_s", [0.1, 1.0, 4.0])
async def test_a_backlog_keeps_its_mailbox_busy_until_it_is_done(service_s: float) -> None:
    """If 500 letters come at once, they are through in little more time than they need one after the other."""
    clock, capacity, letters = SteppedClock(), 2, 500
    simulation, lane = Simulation(clock), a_lane(clock, capacity, patience_s=60)
    hops = 0

    async def letter() -> None:
        nonlocal hops
        turn = None
        while True:
            place = await lane.acquire(turn)
            if isinstance(place, Place):
                with place:
                    return await simulation.sleep(service_s)
            assert isinstance(place, Backlogged)
            hops += 1
            turn = place.not_before
            await simulation.sleep(backlog_level_s(place.wait_s, hops))

    await simulation.run(*(asyncio.create_task(letter()) for _ in range(letters)))

    ideal_s = letters * service_s / capacity
    assert clock.monotonic() < 1.5 * ideal_s + 120
    assert hops / letters < 15

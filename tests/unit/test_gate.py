"""The gate: a letter gets a slot or a reason to wait, and what a slot holds is given back whatever happens."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import NOON, a_comment_event, a_mailbox, an_account
from tests.delivery_world import MAX_AGE_S, DeliveryWorld, an_arrival
from worker.delivery.context import EventContext, LetterContext
from worker.delivery.limits import Limits
from worker.delivery.mailboxes.backlog import AtCapacity, CoolingDown, RateLimited, StaleSettings, Suspended
from worker.delivery.mailboxes.connection_leases import ConnectionLeases
from worker.delivery.mailboxes.gate import Common, MailboxGate, Slot
from worker.delivery.mailboxes.lanes import Lanes
from worker.delivery.mailboxes.state import MailboxKey, Revision, Suspension
from worker.delivery.mailboxes.suspensions import Suspensions
from worker.delivery.mailboxes.sync import NewerSettings
from worker.domain.identity import lane_token
from worker.domain.letter.model import LetterMode, PlannedLetter
from worker.domain.snapshot.resolution import resolve
from worker.domain.snapshot.secret_references import fingerprint
from worker.domain.transmission import Reply, Transmission
from worker.domain.vocabulary import Reason
from worker.domain.work import Work

KEY = MailboxKey("acme", "mb-support")
ACCEPTED = Transmission(accepted={"client@example.net": Reply(250, None, "ok")})


class Scene:
    """A worker's gate, and letters of one mailbox."""

    def __init__(self, **mailbox: Any) -> None:
        self.mailbox = a_mailbox(**mailbox)
        self.world = DeliveryWorld([an_account(mailboxes=[self.mailbox])])
        services = self.world.services(self.world.ledger)
        self.states, clock = services.mailboxes, services.clock
        self.shares = ConnectionLeases(self.states, services.transport, clock)
        self.suspensions = Suspensions(self.states, services.rules.reporter, services.publish, clock)
        newer = NewerSettings(services.snapshot, clock)
        self.lanes = Lanes(clock)
        common = Common(
            self.states, self.shares, self.suspensions, services.snapshot, newer, clock, self.world.observer
        )
        self.gate = MailboxGate(common, self.lanes, Limits(MAX_AGE_S, relay_connections=2, concurrency=4))

    def letter(self, event_id: str = "evt-1") -> LetterContext:
        event = a_comment_event(event_id)
        directory = self.world.snapshot.directory
        resolution = resolve(directory.account("acme"), event.data, NOON)
        context = EventContext(an_arrival(event), event, Work(NOON), directory, resolution, NOON)
        return LetterContext(context, PlannedLetter(LetterMode.EACH, (0,), (0,)))

    async def slot(self) -> Slot:
        slot = await self.gate.acquire(self.letter())
        assert isinstance(slot, Slot)
        return slot

    async def works(self) -> None:
        """A letter goes through: from now on the mailbox is known to work."""
        async with await self.slot() as slot:
            await slot.ended(ACCEPTED, 1)

    @property
    def in_use(self) -> tuple[int, int]:
        """Places in the lane, connections."""
        lane = self.lanes.of(lane_token(*KEY), self.mailbox, 2)
        return lane.busy, self.shares.of(KEY).in_use


async def test_a_slot_holds_a_place_and_a_connection_until_it_is_released() -> None:
    scene = Scene()
    slot = await scene.slot()
    assert scene.in_use == (1, 1)

    await slot.release()
    await slot.release()

    assert scene.in_use == (0, 0)


async def test_a_connection_can_be_released_before_the_slot() -> None:
    """If the server has a letter, then the next one has its connection while this one is recorded."""
    scene = Scene(limits={"connections": 1})
    await scene.works()
    first = await scene.slot()

    first.release_connection()

    assert scene.in_use == (0, 0)
    async with await scene.slot():
        assert scene.in_use == (1, 1)
        await first.release()
        assert scene.in_use == (1, 1), "what was released is not released once more"


async def test_the_first_letter_of_an_unproven_mailbox_keeps_its_connection_to_the_end() -> None:
    scene = Scene()
    slot = await scene.slot()

    slot.release_connection()

    assert scene.in_use == (1, 1)
    await slot.release()


async def test_a_letter_that_is_cancelled_while_it_waits_leaves_nothing_behind() -> None:
    scene = Scene(limits={"connections": 1})
    first = await scene.slot()
    waiting = asyncio.create_task(scene.gate.acquire(scene.letter("evt-2")))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    await first.release()

    assert scene.in_use == (0, 0)
    async with await scene.slot():
        pass


async def test_a_ledger_that_is_away_leaves_nothing_behind() -> None:
    scene = Scene()

    async def is_away(*_: object) -> None:
        raise ConnectionError

    enter, scene.states.enter = scene.states.enter, is_away  # type: ignore[method-assign, assignment]
    with pytest.raises(ConnectionError):
        await scene.gate.acquire(scene.letter())
    scene.states.enter = enter  # type: ignore[method-assign]

    assert scene.in_use == (0, 0)
    async with await scene.slot():
        pass


class TestDenied:
    async def test_a_suspended_mailbox_says_why(self) -> None:
        scene = Scene()
        revision = Revision(fingerprint(scene.mailbox), scene.world.snapshot.directory.version)
        await scene.suspensions.suspend(Suspension(KEY, revision, Reason.AUTH_FAILED, scene.world.clock.now()))

        assert await scene.gate.acquire(scene.letter()) == Suspended(Reason.AUTH_FAILED)

    async def test_a_mailbox_that_cools_down_says_why_and_for_how_long(self) -> None:
        scene = Scene()
        await scene.states.rest(KEY, scene.world.clock.now() + timedelta(seconds=60), Reason.RATE_LIMITED)

        assert await scene.gate.acquire(scene.letter()) == CoolingDown(Reason.RATE_LIMITED, 60)
        assert scene.in_use == (0, 0)

    async def test_a_letter_for_which_there_is_no_room_has_its_turn_in_the_mailboxs_backlog(self) -> None:
        scene = Scene(limits={"connections": 1})
        await scene.works()
        waiting = [asyncio.create_task(scene.gate.acquire(scene.letter(str(number)))) for number in range(12)]
        for _ in range(5):
            await asyncio.sleep(0)

        denied = [task.result() for task in waiting if task.done() and not isinstance(task.result(), Slot)]

        assert denied
        assert all(isinstance(each, AtCapacity) and each.backlog == lane_token(*KEY) for each in denied)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def test_a_letter_over_the_minutes_limit_waits_in_the_backlog(self) -> None:
        scene = Scene(limits={"per_minute": 1})
        async with await scene.slot() as slot:
            assert await slot.consume(1) is None
        async with await scene.slot() as slot:
            denied = await slot.consume(1)

        assert isinstance(denied, RateLimited)
        assert denied.backlog == lane_token(*KEY)
        assert denied.not_before > scene.world.clock.now()

    async def test_a_day_limit_is_a_cooldown_with_a_reason(self) -> None:
        scene = Scene(limits={"per_day": 1})
        async with await scene.slot() as slot:
            assert await slot.consume(1) is None
            denied = await slot.consume(1)

        assert isinstance(denied, CoolingDown)
        assert denied.reason is Reason.QUOTA_EXCEEDED

    async def test_a_worker_behind_another_ones_snapshot_gets_a_newer_one_first(self) -> None:
        scene = Scene()
        newer = Revision("newer settings", scene.world.snapshot.directory.version + 1)
        limits = Limits(MAX_AGE_S, relay_connections=2).of(scene.mailbox)
        await scene.world.another_ledger().mailboxes.enter(KEY, newer, limits, 1)

        denied = await scene.gate.acquire(scene.letter())

        assert isinstance(denied, StaleSettings)
        assert scene.world.snapshot.refreshes == 1
        assert scene.in_use == (0, 0)

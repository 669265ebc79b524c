"""Bulkheads of the delivery: whatever one account or mailbox does, how many places it holds, and who is still let in.

Nothing here is measured by time; `bench.fairness` does that.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest

from tests.builders import a_comment_event, a_mailbox, a_recipient, an_account, an_employee
from tests.delivery_world import IMAP, TOPOLOGY, DeliveryWorld, FixedSnapshot, an_arrival
from tests.doubles.clock import SteppedClock
from tests.doubles.directory import a_directory
from tests.doubles.files import MemoryFileStore
from tests.doubles.name_server import TableNameServer
from tests.doubles.observer import RecordingObserver
from tests.doubles.sent_folder import FakeSentFolder
from tests.doubles.visitors import FakeVisitors
from worker.adapters.dkim import DkimSignatures
from worker.delivery.compose import Attachments
from worker.delivery.mailboxes.in_hand import InHand, PlaceInHand
from worker.delivery.messages import Arrival, Publication
from worker.delivery.places import Holder, Places
from worker.delivery.ports import CopyTarget, SavedCopy
from worker.delivery.results import Reporter
from worker.domain.backoff import BACKLOG_LEVELS_S, CHECK_LEVELS_S
from worker.domain.events.cloudevents import STRUCTURED
from worker.domain.events.models import File, LetterEvent
from worker.domain.letter.plan import plan_files
from worker.domain.results.models import CheckStepResult
from worker.domain.snapshot.model import Account
from worker.domain.snapshot.resolution import resolve
from worker.domain.work import ATTEMPT, TURN
from worker.errors import FileUnavailable
from worker.operations.mailbox_check.check import MailboxCheck
from worker.operations.mailbox_check.handler import CheckHandler
from worker.operations.mailbox_check.ports import Subject
from worker.operations.mailbox_check.steps import OnStep

IN_HAND, IN_TRANSMISSION, WITH_FILES = 128, 64, 32


def account(account_id: str, mailboxes: int = 1, **mailbox: Any) -> Account:
    boxes = [a_mailbox(id=f"{account_id}-{n}", **{"sent_copy": {"mode": "never"}} | mailbox) for n in range(mailboxes)]
    return an_account(id=account_id, employees=[an_employee()], mailboxes=boxes, settings={"attach_files": True})


def letter(name: str, account_id: str, mailbox: int = 0, **fields: Any) -> LetterEvent:
    """To an address of its own: letters to one are limited by number."""
    recipients = [a_recipient(f"{name}@example.net")]
    choice = {"account_id": account_id, "mailbox_id": f"{account_id}-{mailbox}"}
    return a_comment_event(name, **{**choice, "recipients": recipients, **fields})


def attached(name: str) -> list[dict[str, Any]]:
    url = f"https://files.example/{name}"
    return [{"name": "a.pdf", "content_type": "application/pdf", "size": 4, "url": url, "link": url}]


async def settle() -> None:
    for _ in range(1_000):  # far more turns of the loop than a letter takes, on any version of Python
        await asyncio.sleep(0)


class Crowd:
    """Letters that are handed to the worker at once; those that do not come back are inside."""

    def __init__(self, world: DeliveryWorld) -> None:
        self._world = world
        self._tasks: list[asyncio.Task[Sequence[Publication]]] = []

    async def enter(self, events: Sequence[LetterEvent]) -> list[Publication]:
        """Gives what became of those that are out again."""
        handle = self._world.delivery.pipeline.handle
        fresh = [asyncio.create_task(_handled(handle(an_arrival(event)))) for event in events]
        self._tasks += fresh
        await settle()
        return [publication for task in fresh if task.done() for publication in task.result()]

    @property
    def inside(self) -> int:
        return sum(not task.done() for task in self._tasks)

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _handled(handling: Coroutine[Any, Any, Sequence[Publication]]) -> Sequence[Publication]:
    return await handling


@asynccontextmanager
async def stalling(world: DeliveryWorld) -> AsyncIterator[Crowd]:
    """From now on no server answers; at the end whoever is inside is taken out."""
    world.transport.pause_before_dot.clear()
    crowd = Crowd(world)
    try:
        yield crowd
    finally:
        await crowd.leave()


def in_transmission(world: DeliveryWorld, account_id: str) -> int:
    return sum(route.account_id == account_id for route, _ in world.transport.attempts)


async def test_an_account_of_64_stalling_mailboxes_holds_half_and_the_others_go_on() -> None:
    world = DeliveryWorld([account("evil", 64), account("good")])
    async with stalling(world) as crowd:
        away = await crowd.enter([letter(f"evil-{n}", "evil", n % 64) for n in range(500)])
        assert crowd.inside == IN_HAND // 2
        assert in_transmission(world, "evil") == IN_TRANSMISSION // 2
        await crowd.enter([letter("good-1", "good")])
        assert in_transmission(world, "good") == 1
        delayed = {TOPOLOGY.delay(TOPOLOGY.backlog, level_s) for level_s in BACKLOG_LEVELS_S}
        assert len(away) == 500 - IN_HAND // 2
        assert {each.routing_key for each in away} <= delayed
        assert {each.headers[ATTEMPT] for each in away} == {0}, "waiting is no attempt"


async def test_a_mailbox_that_asks_for_1000_connections_gets_the_ceiling_and_its_share() -> None:
    greedy = account("evil", 1, limits={"connections": 1_000})
    world = DeliveryWorld([greedy, account("good")])
    await world.deliver(letter("proof", "evil"))
    before = in_transmission(world, "evil")
    async with stalling(world) as crowd:
        for wave in range(20):
            await crowd.enter([letter(f"evil-{wave}-{n}", "evil") for n in range(20)])
        assert in_transmission(world, "evil") - before == IN_TRANSMISSION // 4
        assert crowd.inside <= IN_HAND // 4
        await crowd.enter([letter("good-1", "good")])
        assert in_transmission(world, "good") == 1


async def test_a_mailbox_share_leaves_room_for_the_accounts_other_mailboxes() -> None:
    world = DeliveryWorld([account("acme", 2, limits={"connections": 1_000})])
    await world.deliver(letter("proof", "acme"))
    async with stalling(world) as crowd:
        for wave in range(20):
            await crowd.enter([letter(f"slow-{wave}-{n}", "acme") for n in range(20)])
        before = in_transmission(world, "acme")
        await crowd.enter([letter("other", "acme", 1)])
        assert in_transmission(world, "acme") == before + 1


async def test_letters_that_find_no_share_come_by_only_as_often_as_letters_get_through() -> None:
    """If a worker's whole share of an account hangs, then its backlog does not keep the worker busy."""
    world = DeliveryWorld([account("evil", 64)])
    async with stalling(world) as crowd:
        await crowd.enter([letter(f"evil-{n}", "evil", n % 64) for n in range(64)])
        world.clock.step(60)  # nothing of it has ended in a minute
        away = await crowd.enter([letter(f"late-{n}", "evil", n % 64) for n in range(640)])
        turns = sorted(str(each.headers[TURN]) for each in away)
        assert len(set(turns)) == 640
        busy_s = 640 * 60 / (IN_HAND // 2)
        last = max(_seconds(world, turn) for turn in turns)
        assert last >= busy_s * 0.9


def _seconds(world: DeliveryWorld, turn: str) -> float:
    return (datetime.fromisoformat(turn) - world.clock.now()).total_seconds()


class HangingFileStore(MemoryFileStore):
    """Files whose URL has `hang` in it never come."""

    async def fetch(self, file: File, max_bytes: int) -> bytes:
        if "hang" in file.url:
            self.fetched.append(file.url)
            await asyncio.Event().wait()
        return await super().fetch(file, max_bytes)


def a_world_with_files(*accounts: Account) -> DeliveryWorld:
    world = DeliveryWorld(accounts)
    world.file_store = HangingFileStore({"https://files.example/good": b"file"})
    world._start()
    return world


class TestFiles:
    async def test_a_dripping_file_server_holds_only_its_accounts_share_of_downloads(self) -> None:
        world = a_world_with_files(account("evil", 64), account("good"))
        crowd = Crowd(world)
        await crowd.enter([letter(f"e-{n}", "evil", n % 64, files=attached(f"hang-{n}")) for n in range(500)])
        assert len(world.file_store.fetched) == WITH_FILES // 2
        await crowd.enter([letter("good", "good", files=attached("good"))])
        assert in_transmission(world, "good") == 1
        await crowd.leave()

    async def test_a_download_holds_no_connection_of_its_mailbox(self) -> None:
        world = a_world_with_files(account("acme", limits={"connections": 1}))
        crowd = Crowd(world)
        await crowd.enter([letter("with-file", "acme", files=attached("hang"))])
        assert crowd.inside == 1
        await crowd.enter([letter("without", "acme")])
        assert [delivered.letter.message_id for delivered in world.transport.delivered]
        assert crowd.inside == 1
        await crowd.leave()

    async def test_nothing_is_downloaded_for_a_letter_that_has_to_wait_anyway(self) -> None:
        world = a_world_with_files(account("acme", limits={"connections": 1}))
        async with stalling(world) as crowd:
            away = await crowd.enter([letter(str(n), "acme", files=attached("good")) for n in range(40)])
            assert len(world.file_store.fetched) == crowd.inside == 40 - len(away)
            assert crowd.inside < 10

    async def test_all_files_of_a_letter_have_one_deadline_together(self) -> None:
        store = HangingFileStore({"https://files.example/good": b"file"})
        data = letter("x", "acme", files=attached("good") + attached("hang")).data
        world = DeliveryWorld([account("acme")])
        await world.deliver(letter("y", "acme"))
        sender = resolve(world.snapshot.directory.account("acme"), data, world.clock.now()).sender
        assert sender is not None
        with pytest.raises(FileUnavailable, match=r"within 0\.01 s") as caught:
            await Attachments(store, 0.01).fetch(data, plan_files(data, sender))
        assert not caught.value.is_permanent

    async def test_a_file_that_cannot_be_had_is_told_without_a_place_in_the_lane(self) -> None:
        world = a_world_with_files(account("acme"))
        world.publish(letter("gone", "acme", files=attached("gone")))
        await world.run(until_s=1)
        assert world.types == ["mail.failed"]
        assert world.transport.attempts == []


class HangingSentFolder(FakeSentFolder):
    """The IMAP servers of one account never answer."""

    def __init__(self, account_id: str) -> None:
        super().__init__()
        self._account_id = account_id
        self.asked: list[str] = []

    async def save(self, target: CopyTarget, *arguments: Any, **named: Any) -> SavedCopy:
        self.asked.append(target.account_id)
        if target.account_id == self._account_id:
            await asyncio.Event().wait()
        return await super().save(target, *arguments, **named)


def test_letters_denied_in_passing_do_not_make_their_account_look_fast() -> None:
    """If a full mailbox sends a hundred letters away at once, then the account's turns stay as far apart as before."""
    clock, holder = SteppedClock(), Holder("evil", "mailbox")
    in_hand = InHand(Places(8), clock)
    before_s = in_hand.backlog(holder).service_s
    for _ in range(100):
        place = in_hand.acquire(holder, None)
        assert isinstance(place, PlaceInHand)
        place.release(is_served=False)
    assert in_hand.backlog(holder).service_s == before_s
    served = in_hand.acquire(holder, None)
    assert isinstance(served, PlaceInHand)
    clock.step(10)
    served.release()
    assert in_hand.backlog(holder).service_s > before_s


async def test_copies_of_an_account_whose_imap_hangs_hold_only_its_share() -> None:
    copied: dict[str, Any] = {"sent_copy": {"mode": "always", "imap": IMAP}}
    world = DeliveryWorld([account("evil", 64, **copied), account("good", **copied)])
    folder = world.sent_folder = HangingSentFolder("evil")
    world._start()
    orders = [
        Arrival(TOPOLOGY.sent_copy, each.body, dict(each.headers), each.content_type)
        for event in [*(letter(f"e-{n}", "evil", n) for n in range(64)), letter("good", "good")]
        for each in await world.delivery.pipeline.handle(an_arrival(event))
        if each.routing_key == TOPOLOGY.sent_copy
    ]
    assert len(orders) == 65
    tasks = [asyncio.create_task(_handled(world.delivery.copies.handle(order))) for order in orders]
    await settle()
    assert folder.asked.count("evil") == 16, "half of the copies in hand"
    assert tasks[-1].done()
    assert [each.type for each in tasks[-1].result()] == ["sent_copy.saved"]
    waiting = [publication for task in tasks[:-1] if task.done() for publication in task.result()]
    assert len(waiting) == 48
    assert all(TOPOLOGY.delay_s(each.routing_key) for each in waiting)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class HangingCheck(MailboxCheck):
    """Checks of one account never end."""

    def __init__(self, clock: SteppedClock) -> None:
        super().__init__(FakeVisitors(), TableNameServer(), DkimSignatures(), clock)
        self.begun: list[str] = []

    async def run(self, subject: Subject, on_step: OnStep = lambda _: None) -> tuple[CheckStepResult, ...]:
        self.begun.append(subject.account_id)
        if subject.account_id == "evil":
            await asyncio.Event().wait()
        return await super().run(subject, on_step)


class TestChecks:
    def setup_method(self) -> None:
        self.clock = SteppedClock()
        self.check = HangingCheck(self.clock)
        self.handler = CheckHandler(
            self.check,
            snapshot=FixedSnapshot(a_directory([account("evil", 64), account("good")])),
            reporter=Reporter("/sendas", TOPOLOGY.results_exchange),
            topology=TOPOLOGY,
            clock=self.clock,
            observer=RecordingObserver(),
            in_hand=InHand(Places(4), self.clock),
        )
        self.tasks: list[asyncio.Task[Sequence[Publication]]] = []

    def ask(self, account_id: str, number: int, **headers: object) -> None:
        event = {
            "specversion": "1.0",
            "id": f"check-{account_id}-{number}",
            "source": "/product/settings",
            "type": "mailbox.check.requested",
            "time": "2026-11-23T10:00:00Z",
            "data": {"account_id": account_id, "mailbox_id": f"{account_id}-{number}"},
        }
        arrival = Arrival(TOPOLOGY.mailbox_check, json.dumps(event).encode(), dict(headers), STRUCTURED)
        self.tasks.append(asyncio.create_task(_handled(self.handler.handle(arrival))))

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def test_hanging_checks_of_one_account_leave_places_for_the_others(self) -> None:
        for number in range(64):
            self.ask("evil", number)
        await settle()
        assert self.check.begun == ["evil", "evil"]
        waiting = [publication for task in self.tasks if task.done() for publication in task.result()]
        levels = {TOPOLOGY.delay(TOPOLOGY.mailbox_check, level_s) for level_s in CHECK_LEVELS_S}
        assert len(waiting) == 62
        assert {each.routing_key for each in waiting} <= levels
        self.ask("good", 0)
        [answer] = await self.tasks[-1]
        assert answer.type == "mailbox.checked"
        await self.end()

    async def test_what_waits_too_long_is_answered_and_says_why(self) -> None:
        """If an account's checks never end, then whoever asks for one more learns it within a quarter of an hour."""
        self.ask("evil", 0)
        self.ask("evil", 1)
        self.ask("evil", 2)
        await settle()
        [waiting] = await self.tasks[2]
        self.clock.step(901)
        self.ask("evil", 2, **waiting.headers)
        [answer] = await self.tasks[3]
        [step] = json.loads(answer.body)["data"]["steps"]
        assert (step["name"], step["ok"], step["reason"]) == ("settings", False, "rate_limited")
        assert "Too many checks" in step["hint"]["en"]
        assert self.check.begun == ["evil", "evil"]
        await self.end()

    async def test_what_waited_is_checked_when_there_is_room(self) -> None:
        self.ask("evil", 0)
        self.ask("evil", 1)
        self.ask("evil", 2)
        await settle()
        [waiting] = await self.tasks[2]
        self.tasks[0].cancel()
        await settle()
        self.ask("evil", 2, **waiting.headers)
        await settle()
        assert self.check.begun == ["evil", "evil", "evil"]
        await self.end()

"""Letters of a busy mailbox come by until it is their turn, in a queue where they stand before nobody else's."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.builders import a_comment_event
from tests.delivery_world import MAX_AGE_S, TOPOLOGY, DeliveryWorld, an_arrival
from worker.delivery.messages import Arrival, Publication
from worker.domain.backoff import BACKLOG_LEVELS_S
from worker.domain.work import FIRST_SEEN, TURN

MANY = 40


class BusyMailbox:
    """A mailbox whose server keeps every letter waiting, until `free`; and what came of those it had no room for."""

    def __init__(self) -> None:
        self.world = DeliveryWorld()
        self._inside: list[asyncio.Task[object]] = []

    async def fill(self) -> list[Publication]:
        """Letters, until those that find no room are sent away; gives these."""
        handle = self.world.delivery.pipeline.handle
        await handle(an_arrival(a_comment_event("before")))
        self.world.transport.pause_before_dot.clear()
        arrivals = [an_arrival(a_comment_event(str(number))) for number in range(MANY)]
        tasks = [asyncio.create_task(handle(arrival)) for arrival in arrivals]
        for _ in range(50):
            await asyncio.sleep(0)
        self._inside = [task for task in tasks if not task.done()]
        return [publication for task in tasks if task.done() for publication in task.result()]

    async def free(self) -> None:
        """Let those that are inside leave."""
        self.world.transport.pause_before_dot.set()
        await asyncio.gather(*self._inside)

    async def come_by(self, message: Publication, **changed: object) -> Publication:
        """The message comes out of its delay queue; gives what becomes of it."""
        headers = {**message.headers, **changed, "x-death": [{"reason": "expired"}]}
        arrival = Arrival(TOPOLOGY.backlog, message.body, headers, message.content_type)
        [publication] = await self.world.delivery.rescheduler.handle(arrival)
        return publication


def is_delayed_turn(publication: Publication) -> bool:
    return publication.routing_key in {TOPOLOGY.delay(TOPOLOGY.backlog, level_s) for level_s in BACKLOG_LEVELS_S}


async def test_what_finds_no_room_waits_where_it_stands_before_nobody_elses_letter() -> None:
    """If a mailbox is flooded, I expect its letters to come back to the queue of turns, not to that of all letters."""
    mailbox = BusyMailbox()
    away = await mailbox.fill()
    assert len(away) > 10
    assert all(map(is_delayed_turn, away))
    await mailbox.free()


async def test_whose_turn_has_not_come_is_sent_away_with_it_and_without_a_look_into_the_event() -> None:
    mailbox = BusyMailbox()
    waits, *_ = await mailbox.fill()
    unreadable = replace(waits, body=b"not looked at")
    again = await mailbox.come_by(unreadable)
    assert (again.routing_key, again.headers, again.body) == (waits.routing_key, waits.headers, b"not looked at")
    await mailbox.free()


async def test_when_the_mailbox_is_free_a_letter_goes_on_whatever_its_turn() -> None:
    mailbox = BusyMailbox()
    waits, *_ = await mailbox.fill()
    await mailbox.free()
    again = await mailbox.come_by(waits)
    assert (again.exchange, again.routing_key, again.body) == ("", TOPOLOGY.outbound, waits.body)
    assert again.headers == waits.headers  # and nothing of the broker's, or it would take it for a cycle


async def test_one_whose_turn_has_come_goes_on_where_others_find_no_room() -> None:
    """If those that were told a time find room no more than newcomers do, I expect that some would never leave."""
    mailbox = BusyMailbox()
    waits, *_ = await mailbox.fill()
    a_moment_ago = mailbox.world.clock.now() - timedelta(seconds=1)
    again = await mailbox.come_by(waits, **{TURN: a_moment_ago.isoformat()})
    assert again.routing_key == TOPOLOGY.outbound
    await mailbox.free()


async def test_a_letter_too_old_to_wait_goes_on_to_be_given_up() -> None:
    mailbox = BusyMailbox()
    waits, *_ = await mailbox.fill()
    long_ago = mailbox.world.clock.now() - timedelta(seconds=MAX_AGE_S)
    again = await mailbox.come_by(waits, **{FIRST_SEEN: long_ago.isoformat()})
    assert again.routing_key == TOPOLOGY.outbound
    await mailbox.free()


@pytest.mark.parametrize(
    "headers",
    [{}, {TURN: "soon"}, {FIRST_SEEN: "yesterday"}, {TURN: "2026-11-23T10:00:00Z"}, {TURN: 7, FIRST_SEEN: 8}],
)
async def test_a_message_that_bears_no_turn_goes_on_to_where_it_is_dealt_with(headers: dict[str, object]) -> None:
    world = DeliveryWorld()
    [again] = await world.delivery.rescheduler.handle(Arrival(TOPOLOGY.backlog, b"{}", headers, "application/json"))
    assert (again.routing_key, again.body) == (TOPOLOGY.outbound, b"{}")


async def test_a_flooded_mailbox_gets_all_its_letters_out() -> None:
    """If letters have been through the queue of turns, I expect each to leave, once."""
    mailbox = BusyMailbox()
    away = await mailbox.fill()
    await mailbox.free()
    mailbox.world.broker.publish(away)
    await mailbox.world.run()
    assert len(mailbox.world.delivered_to) == MANY + 1
    assert not mailbox.world.broker.dead
    assert mailbox.world.broker.waits[TOPOLOGY.backlog]

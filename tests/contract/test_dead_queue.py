"""What every dead queue does: the one in memory and a real RabbitMQ pass the same tests."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aio_pika
import pytest

from tests.doubles.dead_queue import KeptMessage, MemoryDeadQueue
from worker.adapters.broker.dead_letter_queue import open_dead_queue
from worker.adapters.broker.topology import apply_topology
from worker.domain.topology import Topology
from worker.operations.dead_letters.queue import DeadMessage, DeadQueue

Fill = Callable[[int], Awaitable[None]]


@dataclass
class World:
    """A queue, a second operator's view of the same queue, and how to put numbered messages into it."""

    queue: DeadQueue
    other: DeadQueue
    fill: Fill


async def all_of(queue: DeadQueue, at_most: int = 100_000) -> list[int]:
    """The numbers of the messages, in the queue's order; they stay there."""
    numbers = []
    async with queue.take(at_most) as taking:
        async for message in taking:
            numbers.append(number(message))
            taking.keep(message)
    return numbers


async def fails_at(wanted: int, queue: DeadQueue) -> None:
    async with queue.take(250) as taking:
        async for message in taking:
            taking.keep(message)
            assert 1 / (wanted - number(message))


def number(message: DeadMessage) -> int:
    return int(message.body)


class DeadQueueContract:
    """Run by the classes below."""

    async def test_looking_keeps_all_messages_in_their_order(self, world: World) -> None:
        await world.fill(1_000)
        for _ in range(3):
            assert await all_of(world.queue) == list(range(1_000))

    async def test_an_empty_queue_gives_nothing(self, world: World) -> None:
        assert await world.queue.size() == 0
        assert await all_of(world.queue, 10) == []

    async def test_no_more_are_given_than_asked_for(self, world: World) -> None:
        await world.fill(20)
        assert await all_of(world.queue, 7) == list(range(7))
        assert await all_of(world.queue) == list(range(20))

    async def test_a_look_that_is_left_early_changes_nothing(self, world: World) -> None:
        await world.fill(300)
        async with world.queue.take(300) as taking:
            async for message in taking:
                taking.keep(message)
                if number(message) == 150:
                    break
        assert await all_of(world.queue) == list(range(300))

    async def test_what_is_settled_is_gone_and_the_rest_keeps_its_order(self, world: World) -> None:
        await world.fill(1_000)
        async with world.queue.take(1_000) as taking:
            async for message in taking:
                if number(message) % 3:
                    taking.keep(message)
                else:
                    await taking.settle(message)
        assert await all_of(world.queue) == [each for each in range(1_000) if each % 3]

    @pytest.mark.parametrize("settled", [1, 5, 60, 130])
    async def test_who_leaves_while_more_is_on_its_way_keeps_the_order(self, world: World, settled: int) -> None:
        """If a message is settled, then the broker sends the next one; it must not stand before older ones later."""
        await world.fill(1_000)
        async with world.queue.take(1_000) as taking:
            for _ in range(settled):
                await taking.settle(await anext(taking))
        assert await all_of(world.queue) == list(range(settled, 1_000))

    async def test_all_can_be_settled(self, world: World) -> None:
        await world.fill(1_000)
        async with world.queue.take(1_000) as taking:
            async for message in taking:
                await taking.settle(message)
        assert await all_of(world.queue, 10) == []

    async def test_an_error_while_looking_returns_everything(self, world: World) -> None:
        await world.fill(250)
        with pytest.raises(ZeroDivisionError):
            await fails_at(120, world.queue)
        assert await all_of(world.queue) == list(range(250))

    async def test_two_who_look_at_once_see_each_message_at_most_once_and_lose_none(self, world: World) -> None:
        await world.fill(500)
        seen: list[int] = []
        async with world.queue.take(500) as mine:
            for _ in range(50):
                message = await anext(mine)
                mine.keep(message)
                seen.append(number(message))
            seen += await all_of(world.other, await world.other.size())
        assert len(seen) == len(set(seen))
        assert sorted(await all_of(world.queue)) == list(range(500))


class TestMemory(DeadQueueContract):
    @pytest.fixture
    async def world(self) -> World:
        queue = MemoryDeadQueue()

        async def fill(count: int) -> None:
            queue.ready.extend(KeptMessage(0, str(each).encode()) for each in range(count))

        return World(queue, queue, fill)


class TestRabbitMQ(DeadQueueContract):
    @pytest.fixture
    async def world(self, vhost_url: str) -> AsyncIterator[World]:
        name = Topology().dead
        await apply_topology(vhost_url, Topology())
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(await aio_pika.connect(vhost_url))
            channel = await connection.channel()

            async def fill(count: int) -> None:
                messages = [aio_pika.Message(str(each).encode(), delivery_mode=2) for each in range(count)]
                await asyncio.gather(*(channel.default_exchange.publish(each, name) for each in messages))

            queue = await stack.enter_async_context(open_dead_queue(vhost_url, name))
            other = await stack.enter_async_context(open_dead_queue(vhost_url, name))
            yield World(queue, other, fill)

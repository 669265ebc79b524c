"""A newer version's topology comes beside the older one: no queue is dropped, emptied, or declared anew."""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from tests.acceptance.command import sendas
from worker.adapters.broker.topology import apply_topology, check_topology
from worker.domain.topology import BindingSpec, QueueSpec, Topology
from worker.errors import ConfigurationError


class LaterTopology(Topology):
    """A later version's, with one queue and one kind of event more."""

    def queues(self) -> Iterator[QueueSpec]:
        yield from super().queues()
        yield QueueSpec(f"{self.prefix}.later", {"x-queue-type": "quorum"})

    def bindings(self) -> Iterator[BindingSpec]:
        yield from super().bindings()
        yield BindingSpec(self.events_exchange, self.outbound, "later.created")


class ChangedTopology(Topology):
    """A version that wants another delivery limit, which is an argument of the queue."""

    def queues(self) -> Iterator[QueueSpec]:
        for queue in super().queues():
            changed = {**queue.arguments, "x-delivery-limit": 7} if queue.name == self.outbound else queue.arguments
            yield replace(queue, arguments=changed)


@asynccontextmanager
async def channel_to(url: str) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(url) as connection:
        yield await connection.channel()


async def fill(url: str, topology: Topology) -> dict[str, int]:
    """One message in each queue whose messages stay; gives what is in which."""
    names = [topology.outbound, topology.sent_copy, topology.dead, topology.delay(topology.outbound, 7_200)]
    async with channel_to(url) as channel:
        for name in names:
            await channel.default_exchange.publish(aio_pika.Message(b"letter", delivery_mode=2), name)
        return {name: await count(channel, name) for name in names}


async def count(channel: AbstractChannel, name: str) -> int:
    found = await channel.declare_queue(name, passive=True)
    return found.declaration_result.message_count or 0


async def counts(url: str, names: Iterable[str]) -> dict[str, int]:
    async with channel_to(url) as channel:
        return {name: await count(channel, name) for name in names}


async def test_what_is_new_comes_beside_what_is_there(vhost_url: str) -> None:
    """If a version brings a queue, then all queues keep their letters, and workers of both versions start."""
    await apply_topology(vhost_url, Topology())
    before = await fill(vhost_url, Topology())
    await apply_topology(vhost_url, LaterTopology())
    assert await counts(vhost_url, before) == before == dict.fromkeys(before, 1)
    await check_topology(vhost_url, Topology())
    await check_topology(vhost_url, LaterTopology())


async def test_a_rolled_back_version_drops_nothing_that_it_does_not_know(vhost_url: str) -> None:
    """If the older version applies its topology again, then the newer queue and its letters stay."""
    await apply_topology(vhost_url, LaterTopology())
    async with channel_to(vhost_url) as channel:
        await channel.default_exchange.publish(aio_pika.Message(b"letter", delivery_mode=2), "sendas.later")
    await apply_topology(vhost_url, Topology())
    assert await counts(vhost_url, {"sendas.later": 1}) == {"sendas.later": 1}


async def test_a_queue_with_other_arguments_is_refused_and_left_as_it_is(vhost_url: str) -> None:
    """If a version wants other arguments, then it says so, and the queue keeps its arguments and its letters."""
    await apply_topology(vhost_url, Topology())
    before = await fill(vhost_url, Topology())
    with pytest.raises(ConfigurationError, match=r"queue sendas\.outbound is there with other properties.*limit"):
        await apply_topology(vhost_url, ChangedTopology())
    await check_topology(vhost_url, Topology())
    assert await counts(vhost_url, before) == before


async def test_the_command_refuses_with_one_line(vhost_url: str) -> None:
    """If the broker has another version's queue, then `topology apply` ends with 2 and names it; nothing is lost."""
    await apply_topology(vhost_url, ChangedTopology())
    before = await fill(vhost_url, Topology())
    ended = await sendas("topology", "apply", settings={"SENDAS_BROKER_URL": vhost_url})
    assert (ended.status, ended.output) == (2, "")
    [line] = ended.errors.splitlines()
    assert "sendas.outbound" in line
    assert "x-delivery-limit" in line
    await check_topology(vhost_url, ChangedTopology())
    assert await counts(vhost_url, before) == before

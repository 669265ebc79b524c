"""A consumer and a publisher on a real broker, and a look into its queues."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import aio_pika
from prometheus_client import CollectorRegistry

from worker.adapters.broker.consumer import Consumer
from worker.adapters.broker.publisher import Publisher
from worker.adapters.broker.topology import apply_topology
from worker.delivery import requeue
from worker.delivery.messages import Arrival, Handler, Publication
from worker.delivery.signatures import Signatures
from worker.domain.topology import QueueSpec, Topology
from worker.telemetry.metrics import Metrics

TTL_MS = 20
TIMEOUT_S = 30
SIGNATURES = Signatures(b"a key of the tests, shared by all")


class QuickTopology(Topology):
    """The same queues, but nobody waits for long in a delay queue."""

    def queues(self) -> Iterator[QueueSpec]:
        for queue in super().queues():
            is_delay = "x-message-ttl" in queue.arguments
            arguments = {**queue.arguments, "x-message-ttl": TTL_MS} if is_delay else queue.arguments
            yield replace(queue, arguments=arguments)


TOPOLOGY = QuickTopology()


async def eventually(condition: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that the broker does, and nothing here can signal."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            answer = condition()
            if answer is True or (not isinstance(answer, bool) and await answer):
                return
            await asyncio.sleep(0.02)


@dataclass
class Scripted:
    """A handler that does what a test tells it, and remembers what came."""

    act: Handler
    arrivals: list[Arrival] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, arrival: Arrival) -> Sequence[Publication]:
        self.arrivals.append(arrival)
        self.came.set()
        return await self.act(arrival)


async def nothing(_: Arrival) -> Sequence[Publication]:
    return []


def a_work_message(body: bytes = b"work", **headers: str | int) -> Publication:
    """A message for the work queue."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Publication("", TOPOLOGY.outbound, body, named, "application/cloudevents+json")


def a_result(key: str = "mail.sent") -> Publication:
    """A result that nobody has to listen to."""
    return Publication(TOPOLOGY.results_exchange, key, b"{}", type=key, must_route=False)


@dataclass
class BrokerSetting:
    """Everything on one virtual host with the quick topology."""

    url: str
    metrics: Metrics
    publisher: Publisher
    admin: aio_pika.abc.AbstractConnection

    async def count(self, queue: str) -> int:
        """Messages that are ready in a queue."""
        async with self.admin.channel() as channel:
            found = await channel.declare_queue(queue, passive=True)
            return found.declaration_result.message_count or 0

    async def get(self, queue: str) -> aio_pika.abc.AbstractIncomingMessage:
        """Take one message out of a queue as soon as there is one."""
        async with self.admin.channel() as channel:
            source = await channel.get_queue(queue)
            while True:
                message = await source.get(no_ack=True, fail=False)
                if message is not None:
                    return message
                await asyncio.sleep(0.02)

    async def is_empty(self, queue: str = TOPOLOGY.outbound) -> bool:
        return await self.count(queue) == 0

    @asynccontextmanager
    async def consuming(
        self, handler: Handler, prefetch: int = 4, look_every_s: float = 60, hold_s: float = 600
    ) -> AsyncIterator[Consumer]:
        """A consumer of the work queue while the context lasts."""
        consumer = Consumer(
            self.url,
            TOPOLOGY.outbound,
            handler,
            self.publisher,
            self.metrics,
            prefetch=prefetch,
            signatures=SIGNATURES,
            put_back=lambda arrival: requeue.put_back(arrival, TOPOLOGY, datetime.now(UTC)),
            look_every_s=look_every_s,
            hold_s=hold_s,
        )
        async with running_task(consumer.run()):
            await eventually(lambda: consumer.is_consuming)
            yield consumer
            await consumer.stop(0)


@asynccontextmanager
async def running_task(work: Awaitable[None]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def broker_setting(url: str, max_bytes: int = 1_000_000) -> AsyncIterator[BrokerSetting]:
    """The topology on this virtual host, a publisher that is up, and an operator's connection."""
    await apply_topology(url, TOPOLOGY)
    metrics = Metrics(CollectorRegistry())
    publisher = Publisher(url, metrics, max_bytes=max_bytes, signatures=SIGNATURES)
    admin = await aio_pika.connect(url)
    async with admin, running_task(publisher.run()):
        await eventually(lambda: publisher.problem() is None)
        yield BrokerSetting(url, metrics, publisher, admin)

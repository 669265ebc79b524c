"""Where all contestants compete: one broker, one sink, the same queues, and the books of what was sent and told."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aio_pika

from bench.counting import TooFew
from bench.letters import event
from bench.sink import Sink
from stack import PostgreSQL, RabbitMQ, running
from worker.adapters.broker.topology import apply_topology
from worker.domain.events.cloudevents import STRUCTURED
from worker.domain.topology import Topology

TOPOLOGY = Topology()
RESULTS = "bench.results"
_QUORUM: dict[str, aio_pika.abc.FieldValue] = {"x-queue-type": "quorum"}
_AT_ONCE = 500
_RESULTS_S = 60.0
_COUNT_S = 10.0
_RETURN_S = 0.3  # the broker notices at once that a consumer is gone, but not before that

Publishable = tuple[str, bytes]  # queue, body


@dataclass(frozen=True)
class Arena:
    """The servers, all on this machine."""

    directory: Path
    broker: RabbitMQ
    sink: Sink
    database: PostgreSQL

    @classmethod
    @asynccontextmanager
    async def open(cls, directory: Path) -> AsyncIterator[Self]:
        """Start the servers in a directory; stop them at the end."""
        broker, sink = RabbitMQ(directory / "rabbitmq"), Sink(directory / "sink")
        database = PostgreSQL(directory / "postgresql")
        async with running(broker, sink, database):
            arena = cls(directory, broker, sink, database)
            await apply_topology(broker.amqp_url, TOPOLOGY)
            await arena._bind_results()
            yield arena

    def place(self, name: str) -> Path:
        """A new directory."""
        path = self.directory / f"{name}-{secrets.token_hex(4)}"
        path.mkdir(mode=0o711)
        return path

    async def publish(self, messages: Iterable[tuple[str, aio_pika.Message]]) -> None:
        """Put messages into queues, persistent and confirmed."""
        async with await aio_pika.connect(self.broker.amqp_url) as connection:
            exchange = (await connection.channel()).default_exchange
            going: set[asyncio.Task[object]] = set()
            for queue, message in messages:
                going.add(asyncio.create_task(_published(exchange, queue, message)))
                if len(going) >= _AT_ONCE:
                    done, going = await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)
                    for each in done:
                        each.result()
            await asyncio.gather(*going)

    async def load(self, count: int, run: str, make: Callable[[int, str], bytes] = event) -> None:
        """Put the events of so many letters into the work queue."""
        await self.publish((TOPOLOGY.outbound, as_message(make(number, run))) for number in range(count))

    def arrivals(self) -> Callable[[], int]:
        """Says how many letters the sink has accepted since this call."""
        before = self.sink.accepted()
        return lambda: self.sink.accepted() - before

    async def audit(self, count: int, run: str, arrived: Callable[[], int]) -> None:
        """See that every letter of a run arrived once, that each has its result, and that no message is left.

        Raises:
            TooFew: something is missing, or there is more than there should be.
        """
        told = await self._results(count)
        if arrived() != count:
            raise TooFew(f"{count} letters were to be sent, {arrived()} arrived")
        wanted = {f"{run}-{number}" for number in range(count)}
        if wanted - told:
            raise TooFew(f"{len(wanted - told)} of {count} letters have no result")
        async with await aio_pika.connect(self.broker.amqp_url) as connection:
            channel = await connection.channel()
            for name in (TOPOLOGY.outbound, TOPOLOGY.dead):
                if waiting := await _waiting(channel, name):
                    raise TooFew(f"{waiting} messages are left in {name}")

    async def clear(self) -> int:
        """Empty all queues after a contestant has ended; returns how many messages it had left there."""
        await asyncio.sleep(_RETURN_S)
        left = 0
        async with await aio_pika.connect(self.broker.amqp_url) as connection:
            channel = await connection.channel()
            for spec in TOPOLOGY.queues():
                queue = await channel.get_queue(spec.name, ensure=False)
                left += (await queue.purge()).message_count or 0
        return left

    async def _results(self, count: int) -> set[str]:
        """The events that `mail.sent` was published for; waits for as many results as there should be."""
        told: set[str] = set()
        until_s = time.monotonic() + _RESULTS_S
        async with await aio_pika.connect(self.broker.amqp_url) as connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=_AT_ONCE)
            queue = await channel.declare_queue(RESULTS, passive=True)
            while len(told) < count and time.monotonic() < until_s:
                message = await queue.get(no_ack=True, fail=False)
                if message is None:
                    await asyncio.sleep(0.05)
                elif message.routing_key == "mail.sent":
                    told.add(event_of(message.body))
            await queue.purge()
        return told

    async def _bind_results(self) -> None:
        async with await aio_pika.connect(self.broker.amqp_url) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(RESULTS, durable=True, arguments=_QUORUM)
            await queue.bind(TOPOLOGY.results_exchange, "#")


async def _waiting(channel: aio_pika.abc.AbstractChannel, name: str) -> int:
    """How many messages a queue has; its own count of them may be some moments old."""
    until_s = time.monotonic() + _COUNT_S
    while True:
        queue = await channel.declare_queue(name, passive=True)
        count = queue.declaration_result.message_count or 0
        if not count or time.monotonic() > until_s:
            return count
        await asyncio.sleep(0.1)


def event_of(result: bytes) -> str:
    """The event that a result is about, whoever published it."""
    document = json.loads(result)
    return str(document.get("data", document)["event_id"])


def as_message(body: bytes) -> aio_pika.Message:
    """An event as the product publishes it."""
    return aio_pika.Message(body, content_type=STRUCTURED, delivery_mode=2)


async def _published(exchange: aio_pika.abc.AbstractExchange, queue: str, message: aio_pika.Message) -> object:
    return await exchange.publish(message, queue)

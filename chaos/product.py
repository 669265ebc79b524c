"""The product's side of the broker: events are published until they are confirmed, and results are kept."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, DeliveryError

from chaos.events import PlannedEvent
from chaos.results import Results
from stack import ServerError

EVENTS_EXCHANGE = "product.events"
RESULTS_EXCHANGE = "sendas.results"
RESULTS_QUEUE = "chaos.results"
DEAD_QUEUE = "sendas.dead"
_CONTENT_TYPE = "application/cloudevents+json"
_TIMEOUT_S = 10.0
_RECONNECT_S = 0.3
_TRIES = 30
_LINES = 4
_INVALID_KEY = "comment.created"
_PREFETCH = 500

_ERRORS = (*CONNECTION_EXCEPTIONS, DeliveryError, asyncio.TimeoutError)


@asynccontextmanager
async def channel(url: str) -> AsyncIterator[AbstractChannel]:
    """A channel with confirms on a connection of its own."""
    connection = await _connection(url)
    try:
        yield await connection.channel(publisher_confirms=True, on_return_raises=True)
    finally:
        with suppress(*_ERRORS):  # it may be gone already
            await asyncio.wait_for(connection.close(), timeout=2)


async def _connection(url: str) -> aio_pika.Connection:
    connection = aio_pika.Connection(aio_pika.connection.make_url(url))
    try:
        await connection.connect(timeout=_TIMEOUT_S)
    except BaseException:  # also cancellation; its finalizer would close it later, in whatever loop runs then
        await connection.close()
        raise
    return connection


@dataclass(frozen=True)
class _Due:
    at_s: float
    routing_key: str
    body: bytes


@dataclass
class Publishing:
    """How the publishing went."""

    confirmed: int = 0
    repeated_on_purpose: int = 0
    tried_again: int = 0


class EventPublisher:
    """Publishes events when they are due, over several connections, each message until it is confirmed."""

    def __init__(self, url: str, events: Iterable[PlannedEvent], invalid: Iterable[bytes]) -> None:
        self._url = url
        self.publishing = Publishing()
        due = [_Due(1.0, _INVALID_KEY, body) for body in invalid]
        for event in events:
            due.append(_Due(event.publish_at_s, event.type, event.body))
            if event.repeat_at_s is not None:
                due.append(_Due(event.repeat_at_s, event.type, event.body))
                self.publishing.repeated_on_purpose += 1
        self._due = sorted(due, key=lambda each: each.at_s)

    async def run(self, began: float) -> None:
        """Publish everything; `began` is the loop's time at which the run began."""
        await asyncio.gather(*(self._line(self._due[first::_LINES], began) for first in range(_LINES)))

    async def _line(self, due: list[_Due], began: float) -> None:
        waiting = list(reversed(due))
        while waiting:
            try:
                async with channel(self._url) as line:
                    exchange = await line.get_exchange(EVENTS_EXCHANGE, ensure=False)
                    while waiting:
                        next_one = waiting[-1]
                        await asyncio.sleep(max(0.0, began + next_one.at_s - asyncio.get_running_loop().time()))
                        await exchange.publish(
                            _message(next_one.body), next_one.routing_key, mandatory=True, timeout=_TIMEOUT_S
                        )
                        waiting.pop()
                        self.publishing.confirmed += 1
            except _ERRORS:
                self.publishing.tried_again += 1
                await asyncio.sleep(_RECONNECT_S)


def _message(body: bytes) -> aio_pika.Message:
    return aio_pika.Message(body, content_type=_CONTENT_TYPE, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)


class ResultsConsumer:
    """Takes the results out of a queue of the harness's own, and acknowledges what it has."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.results = Results()

    async def declare(self) -> None:
        """Make the queue; before the first worker starts."""
        async with channel(self._url) as line:
            queue = await line.declare_queue(RESULTS_QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
            await queue.bind(RESULTS_EXCHANGE, "#")

    async def run(self) -> None:
        """Consume until cancelled."""
        while True:
            with suppress(*_ERRORS):
                async with channel(self._url) as line:
                    await self._consume(line)
            await asyncio.sleep(_RECONNECT_S)

    async def _consume(self, line: AbstractChannel) -> None:
        lost = asyncio.Event()
        await line.set_qos(prefetch_count=_PREFETCH)
        queue = await line.declare_queue(RESULTS_QUEUE, passive=True)
        underlay = await line.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(lambda *_: lost.set())
        line.close_callbacks.add(lambda *_: lost.set())
        await queue.consume(self._take)
        await lost.wait()

    async def _take(self, message: AbstractIncomingMessage) -> None:
        self.results.take(json.loads(message.body))
        with suppress(*_ERRORS):  # then it comes again, and is known by its id
            await message.ack()


@dataclass(frozen=True)
class DeadLetter:
    """A message of the dead queue, with the reason it carries; empty: none."""

    reason: str
    detail: str
    body: bytes


T = TypeVar("T")


async def _patiently(url: str, work: Callable[[AbstractChannel], Awaitable[T]]) -> T:
    """Do something on a channel, on a new one as long as the broker is still coming back."""
    for _ in range(_TRIES):
        with suppress(*_ERRORS):
            async with channel(url) as line, asyncio.timeout(_TIMEOUT_S):
                return await work(line)
        await asyncio.sleep(_RECONNECT_S)
    raise ServerError(f"the broker does not answer after {_TRIES} tries")


async def dead_letters(url: str) -> list[DeadLetter]:
    """Everything in the dead queue; it stays there."""

    async def look(line: AbstractChannel) -> list[DeadLetter]:
        found = []
        queue = await line.declare_queue(DEAD_QUEUE, passive=True)
        while (message := await queue.get(fail=False)) is not None:
            reason, detail = (str(message.headers.get(f"sendas-dead-{name}", "")) for name in ("reason", "detail"))
            found.append(DeadLetter(reason, detail, message.body))
        return found

    return await _patiently(url, look)


async def waiting_messages(url: str, queues: Iterable[str]) -> dict[str, int]:
    """How many messages wait in these queues; those without any are left out."""

    async def look(line: AbstractChannel) -> dict[str, int]:
        found = {name: await line.declare_queue(name, passive=True) for name in queues}
        return {name: count for name, queue in found.items() if (count := queue.declaration_result.message_count)}

    return await _patiently(url, look)


async def announce(url: str, version: int) -> None:
    """Publish `configuration.changed`."""
    event = {
        "specversion": "1.0",
        "id": f"configuration-{version}",
        "source": "/chaos/configuration",
        "type": "configuration.changed",
        "time": "2026-01-01T00:00:00Z",
        "data": {"version": version},
    }

    async def publish(line: AbstractChannel) -> None:
        exchange = await line.get_exchange(EVENTS_EXCHANGE, ensure=False)
        await exchange.publish(_message(json.dumps(event).encode()), "configuration.changed", mandatory=False)

    await _patiently(url, publish)

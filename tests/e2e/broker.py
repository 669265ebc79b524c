"""A virtual host as the product sees it: events in, results and queued messages out.

Messages leave the delay queues at once: they are outcomes like any other, and go back when the case says so.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

_EVENTS = "product.events"
_RESULTS = "sendas.results"
_END = "the-end-of-the-run"

RETURN_AFTER_S = 0.1
"""How long a message waits before it goes back to a worker that may not be ready for it yet: no busy loop."""

RESULTS = "results"
"""The `Message.queue` of results."""


@dataclass(frozen=True)
class Message:
    """A message and the queue that held it."""

    queue: str
    message: AbstractIncomingMessage

    @property
    def all_of_it(self) -> bytes:
        """Headers and body, to search."""
        return repr(dict(self.message.headers)).encode() + self.message.body

    @property
    def work_queue(self) -> str:
        """The queue to which the broker returns it after its delay."""
        return self.queue.partition(".delay.")[0]

    @property
    def is_delayed(self) -> bool:
        """True for a message in a delay queue."""
        return ".delay." in self.queue

    @property
    def is_backlog(self) -> bool:
        """True while it only waits for a free connection of its mailbox; how often it does so is no outcome."""
        return self.is_delayed and not self.work_queue.endswith((".outbound", ".sent-copy"))


Take = Callable[[Message], None]


class Broker:
    """A virtual host with the worker's topology."""

    def __init__(self, channel: AbstractChannel, queues: list[str], take: Take) -> None:
        self._channel = channel
        self._queues = queues
        self._take = take
        self._ended: dict[str, asyncio.Event] = {}
        self._returns: set[asyncio.Future[None]] = set()

    async def listen(self) -> None:
        """Consume results and delay queues from now on."""
        results = await self._channel.declare_queue(exclusive=True)
        await results.bind(_RESULTS, "#")
        delays = [await self._channel.declare_queue(name, passive=True) for name in self._queues if ".delay." in name]
        for queue, shown in [(results, RESULTS), *((queue, queue.name) for queue in delays)]:
            self._ended[queue.name] = asyncio.Event()
            await queue.consume(self._consumer(queue.name, shown), no_ack=True)

    def _consumer(self, queue: str, shown: str) -> Callable[[AbstractIncomingMessage], Any]:
        async def take(message: AbstractIncomingMessage) -> None:
            if message.type == _END:
                self._ended[queue].set()
            elif Message(shown, message).is_backlog:
                asyncio.get_running_loop().call_later(RETURN_AFTER_S, self._bring_back_later, Message(shown, message))
            else:
                self._take(Message(shown, message))

        return take

    async def publish(self, body: bytes) -> None:
        """Publish an event as the product does."""
        exchange = await self._channel.get_exchange(_EVENTS, ensure=False)
        message = aio_pika.Message(body, content_type="application/cloudevents+json", delivery_mode=2)
        await exchange.publish(message, _event_type(body))

    def _bring_back_later(self, delayed: Message) -> None:
        task = asyncio.ensure_future(self.bring_back(delayed))
        self._returns.add(task)
        task.add_done_callback(self._returns.discard)

    async def bring_back(self, delayed: Message) -> None:
        """Return a message to its work queue, as the broker does after the delay."""
        await self._channel.default_exchange.publish(delayed.message, delayed.work_queue)

    async def take_the_rest(self) -> None:
        """After the worker's end: drain what is in transit, and whatever is left in any other queue."""
        for listened, ended in self._ended.items():
            await self._channel.default_exchange.publish(aio_pika.Message(b"", type=_END), listened)
            await ended.wait()
        for name in self._queues:
            if ".delay." not in name:
                queue = await self._channel.declare_queue(name, passive=True)
                while (message := await queue.get(fail=False, no_ack=True)) is not None:
                    self._take(Message(name, message))


def _event_type(body: bytes) -> str:
    try:
        return str(json.loads(body)["type"])
    except (ValueError, KeyError, TypeError):
        return "comment.created"


@asynccontextmanager
async def broker_at(url: str, queues: list[str], take: Take) -> AsyncIterator[Broker]:
    """Connect to a virtual host; `take` gets everything that comes out."""
    async with await aio_pika.connect(url) as connection:
        broker = Broker(await connection.channel(), queues, take)
        await broker.listen()
        yield broker

"""The dead queue over AMQP: inspected messages are held unacknowledged, and return in their original order.

Broker behaviour and its consequences (RabbitMQ 3.10, measured; 4.x has the same code for it):

- A quorum queue requeues a closed channel's messages in the order in which that channel got them, and delivers them
  before all others except those requeued earlier. So an inspection that ends early also takes the rest and returns it
  unread: otherwise the messages behind would come first. `basic.nack` of many does not keep their order, and
  `basic.get` makes each message a consumer of its own, whose order is lost. So: consumers, and channels closed one
  after the other, the oldest first.
- Deliveries in flight to a consumer when it is cancelled are requeued at once, and so before all others. So a window is
  left only when nothing can be in flight: it is full, or the queue is empty.
- A consumer's prefetch cannot be raised later, and everything within it arrives at once: without a limit, the bodies of
  the whole queue would be in memory. So there are windows: a consumer on its own channel, for some hundred to thousand
  messages; when all of them are kept, the next window opens.
- For each acknowledgement the broker searches everything that a channel holds, which would take hours with 100,000 held
  on one channel. With a channel per window the cost is negligible.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity
from aiormq.abc import AbstractChannel as Underlay
from aiormq.abc import DeliveredMessage

from worker.adapters.addresses.broker import Broker
from worker.adapters.broker.connection import BROKER_ERRORS, close_quietly, connect_patiently
from worker.errors import ConfigurationError, Unavailable

log = structlog.get_logger(__name__)

_FIRST_WINDOW = 100
_LARGEST_WINDOW = 4_000
_SMALLEST_WINDOW = 16
_WINDOW_BYTES = 16 * 1024 * 1024
_RPC_TIMEOUT_S = 60.0
_CLOSE_TIMEOUT_S = 60.0
_QUIET_S = 0.25
_QUIET_ROUNDS = 3
_STUCK_ROUNDS = 120
_PROPERTIES = (
    "content_type",
    "content_encoding",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "timestamp",
    "user_id",
    "app_id",
)


class Placed(Protocol):
    """What identifies a message in the queue."""

    @property
    def place(self) -> int: ...


@dataclass(frozen=True, slots=True)
class HeldMessage:
    """A message that the broker holds for us."""

    place: int
    body: bytes
    headers: Mapping[str, object]
    properties: Mapping[str, object]


class AmqpDeadQueue:
    """`operations.dead_letters_queue.DeadQueue` on one connection."""

    def __init__(self, connection: AbstractConnection, queue: str) -> None:
        self._connection = connection
        self._queue = queue

    async def size(self) -> int:
        try:
            async with self._connection.channel(publisher_confirms=False) as channel:
                return await _ready(channel, self._queue)
        except ChannelNotFoundEntity:
            raise ConfigurationError(f"queue {self._queue} does not exist: run `sendas topology apply`") from None
        except BROKER_ERRORS as error:
            raise _lost(error) from None

    @asynccontextmanager
    async def take(self, at_most: int) -> AsyncIterator["AmqpDeadLetterWindow"]:
        taking = AmqpDeadLetterWindow(self._connection, self._queue, at_most)
        try:
            yield taking
        finally:
            await taking.give_back()


@asynccontextmanager
async def open_dead_queue(broker: Broker, queue: str) -> AsyncIterator[AmqpDeadQueue]:
    """Connect; waits for a broker that is not up yet.

    Raises:
        ConfigurationError: the broker refuses the user name, password or virtual host.
    """
    connection = await connect_patiently(broker, "sendas-dead-letters")
    try:
        yield AmqpDeadQueue(connection, queue)
    finally:
        await close_quietly(connection)


@dataclass(slots=True)
class _Window:
    """A consumer on its own channel. `held` of its `size` slots are taken; `kept` were inspected and go back."""

    channel: AbstractChannel  # strong reference: aio-pika keeps weak ones
    underlay: Underlay
    tag: str
    size: int
    held: int = 0
    kept: int = 0


@dataclass(slots=True)
class _Hold:
    """Where to acknowledge a message that is neither kept nor settled yet."""

    window: _Window
    delivery_tag: int


@dataclass(slots=True)
class AmqpDeadLetterWindow:
    """`operations.dead_letters_queue.Taking`."""

    connection: AbstractConnection
    queue: str
    at_most: int
    _windows: list[_Window] = field(default_factory=list)
    _arrived: deque[HeldMessage] = field(default_factory=deque)
    _holds: dict[int, _Hold] = field(default_factory=dict)
    _signal: asyncio.Event = field(default_factory=asyncio.Event)
    _received: int = 0
    _received_bytes: int = 0
    _given: int = 0
    _problem: BaseException | None = None
    _is_closing: bool = False

    def __aiter__(self) -> "AmqpDeadLetterWindow":
        return self

    async def __anext__(self) -> HeldMessage:
        try:
            while self._given < self.at_most:
                if self._problem is not None:
                    raise _lost(self._problem)
                if self._arrived:
                    self._given += 1
                    return self._arrived.popleft()
                if not self._windows or self._windows[-1].kept >= self._windows[-1].size:
                    await self._open_window()
                elif not await self._comes_more():
                    break
        except BROKER_ERRORS as error:
            raise _lost(error) from None
        raise StopAsyncIteration

    def keep(self, message: Placed) -> None:
        if hold := self._holds.pop(message.place, None):
            hold.window.kept += 1
            self._signal.set()

    async def settle(self, message: Placed) -> None:
        hold = self._holds[message.place]
        try:
            async with asyncio.timeout(_RPC_TIMEOUT_S):  # waits for a writer, which may end with its connection
                await hold.window.underlay.basic_ack(hold.delivery_tag, wait=False)
        except BROKER_ERRORS as error:
            raise _lost(error) from None
        del self._holds[message.place]
        hold.window.held -= 1
        self._signal.set()

    async def give_back(self) -> None:
        """Close the windows, oldest first: that order becomes the order of the messages in the queue."""
        self._is_closing = True
        self._arrived.clear()
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                if self._windows:
                    await self._take_rest()
                    await self._windows[-1].underlay.basic_cancel(self._windows[-1].tag)
                for window in self._windows:
                    await window.channel.close()
        except BROKER_ERRORS as error:
            # The connection's end requeues them all the same; only the order of whole windows may change.
            log.warning("dead_queue.given_back_by_force", error=type(error).__name__)

    async def _take_rest(self) -> None:
        """Hold everything behind the last window, the only one that may have room left."""
        stuck = 0
        while stuck < _STUCK_ROUNDS:
            self._signal.clear()
            window = self._windows[-1]
            # The broker replies on the window's channel, so after the deliveries it has sent there.
            if await _ready(window.channel, self.queue) == 0:
                break
            if window.held == window.size:
                await self._open_window()
            elif not await self._is_signalled():
                stuck += 1

    async def _open_window(self) -> None:
        size = self._next_size()
        channel = await self.connection.channel(publisher_confirms=False)
        underlay: Underlay = await channel.get_underlay_channel()
        window = _Window(channel, underlay, f"sendas-dead-letters-{len(self._windows)}", size)
        self._windows.append(window)
        channel.close_callbacks.add(lambda _, error: self._lose(error))
        underlay.on_consumer_cancel_callbacks.add(lambda *_: self._lose(None))
        await underlay.basic_qos(prefetch_count=size, timeout=_RPC_TIMEOUT_S)
        await underlay.basic_consume(
            self.queue, partial(self._take, window), consumer_tag=window.tag, timeout=_RPC_TIMEOUT_S
        )

    def _next_size(self) -> int:
        """How many messages may be in memory at a time, estimated from those received so far."""
        if not self._windows:
            return _FIRST_WINDOW
        fitting = _WINDOW_BYTES * self._received // max(self._received_bytes, 1)
        # The number of channels is limited too, so later windows are never very small.
        smallest = _SMALLEST_WINDOW + len(self._windows)
        return min(max(fitting, smallest), 4 * self._windows[-1].size, _LARGEST_WINDOW)

    async def _take(self, window: _Window, message: DeliveredMessage) -> None:
        """Record a delivery. Deliveries beyond the requested number stay unread until the channel closes."""
        window.held += 1
        self._signal.set()
        if self._is_closing or self._received == self.at_most or message.delivery_tag is None:
            return
        self._holds[self._received] = _Hold(window, message.delivery_tag)
        self._arrived.append(
            HeldMessage(self._received, message.body, message.header.properties.headers or {}, _properties(message))
        )
        self._received += 1
        self._received_bytes += len(message.body)

    async def _comes_more(self) -> bool:
        """Wait for a message, or until one in hand is settled; False at the end of the queue.

        Other consumers may have taken messages since they were counted, so the count alone proves nothing. The end is
        reached when the broker repeatedly reports none ready: a requeued message is briefly counted nowhere.
        """
        quiet = 0
        for _ in range(_STUCK_ROUNDS):
            if self._arrived:
                return True
            self._signal.clear()
            if await self._is_signalled() or self._holds:
                return True  # holds without a message: the caller is working on them, for as long as that takes
            quiet = quiet + 1 if await _ready(self._windows[0].channel, self.queue) == 0 else 0
            if quiet == _QUIET_ROUNDS:
                return bool(self._arrived)
        raise Unavailable(f"the broker does not deliver the messages of {self.queue}")

    async def _is_signalled(self) -> bool:
        try:
            async with asyncio.timeout(_QUIET_S):
                await self._signal.wait()
        except TimeoutError:
            return False
        return True

    def _lose(self, error: BaseException | None) -> None:
        if not self._is_closing:
            self._problem = error or ConnectionError("the broker ended the consumer")
            self._signal.set()


async def _ready(channel: AbstractChannel, queue: str) -> int:
    declared = await channel.declare_queue(queue, passive=True, timeout=_RPC_TIMEOUT_S)
    return declared.declaration_result.message_count or 0


def _properties(message: DeliveredMessage) -> dict[str, object]:
    properties = message.header.properties
    values = {name: getattr(properties, name) for name in _PROPERTIES} | {"type": properties.message_type}
    return {name: value for name, value in values.items() if value not in (None, "")}


def _lost(error: BaseException) -> Unavailable:
    return Unavailable(f"the broker was lost while the dead letters were looked at: {type(error).__name__}")

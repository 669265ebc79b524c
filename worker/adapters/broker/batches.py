"""Consumes a queue in batches: each is acknowledged as a whole, once its handler has stored it."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import structlog
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aio_pika.exceptions import ChannelNotFoundEntity

from worker.adapters.addresses.broker import Broker
from worker.adapters.broker.connection import ReconnectingConnection, broker_call
from worker.delivery import requeue
from worker.delivery.messages import Arrival
from worker.delivery.ports import Clock
from worker.domain.topology import Topology
from worker.domain.vocabulary import Reason
from worker.errors import ConfigurationError, Unavailable

log = structlog.get_logger(__name__)

BatchHandler = Callable[[Sequence[bytes]], Awaitable[Sequence[str | None]]]
"""Handles the bodies of a batch; returns for each why it can never be handled, or None.

Raises `Unavailable` when none can be handled now: the batch is retried. Must be idempotent: bodies may repeat.
"""

_AT_ONCE = 200
_PREFETCH = 300  # the next batch gathers while one is handled; at worst each message is a result of 1,000 recipients
_AT_ONCE_BYTES = 8_000_000
_LINGER_S = 0.2
_IDLE_S = 30.0
_ANSWER_S = 10.0
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 15.0
_HOLD_S = 15 * 60.0  # the broker forcibly requeues messages held for 30 minutes


@dataclass(slots=True)
class _Intake:
    """Messages delivered on one channel that no batch has taken yet."""

    messages: deque[AbstractIncomingMessage] = field(default_factory=deque)
    ended: str | None = None
    _signal: asyncio.Event = field(default_factory=asyncio.Event)

    async def put(self, message: AbstractIncomingMessage) -> None:
        self.messages.append(message)
        self._signal.set()

    def end(self, error: BaseException | None) -> None:
        self.ended = f"the broker ended the consumer: {type(error).__name__ if error else 'cancelled'}"
        self._signal.set()

    def require(self) -> None:
        """Raises `ConnectionError` when the channel can neither deliver nor acknowledge any more."""
        if self.ended is not None:
            raise ConnectionError(self.ended)

    async def batch(self) -> list[AbstractIncomingMessage]:
        """The next messages, gathered for a moment; empty when none arrived for a while."""
        if await self._has(1, _IDLE_S):
            await self._has(_AT_ONCE, _LINGER_S)
        taken: list[AbstractIncomingMessage] = []
        room = _AT_ONCE_BYTES
        while self.messages and len(taken) < _AT_ONCE and (not taken or len(self.messages[0].body) <= room):
            taken.append(self.messages.popleft())
            room -= len(taken[-1].body)
        return taken

    async def _has(self, count: int, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                while len(self.messages) < count:
                    self.require()
                    self._signal.clear()
                    await self._signal.wait()
        except TimeoutError:
            return False
        return True


class BatchConsumer:
    """Hands the messages of one queue to a handler, batch by batch.

    A message that can never be handled goes to the dead queue, with the reason. While the handler is unavailable, the
    batch is held and retried with growing pauses; messages held for too long go back to the broker.
    """

    def __init__(
        self,
        broker: Broker,
        topology: Topology,
        queue: str,
        handler: BatchHandler,
        clock: Clock,
        *,
        paused: Callable[[], None] = lambda: None,
        first_wait_s: float = _FIRST_WAIT_S,
        hold_s: float = _HOLD_S,
    ) -> None:
        self.queue = queue
        self._connection = ReconnectingConnection(broker, "sendas-history", self._up)
        self._topology = topology
        self._handle = handler
        self._clock = clock
        self._paused = paused
        self._first_wait_s = first_wait_s
        self._hold_s = hold_s
        self._problem: str | None = "not connected to the broker"
        self._stopping = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def problem(self) -> str | None:
        """Why nothing is currently consumed from the queue, as text."""
        return self._problem

    async def run(self) -> None:
        """Consume until cancelled.

        Raises:
            ConfigurationError: the broker refuses the connection, or has no such queue.
        """
        await self._connection.run()

    async def stop(self, timeout_s: float) -> None:
        """Take no further batch, and wait for the current one; the broker redelivers what is not settled by then."""
        self._stopping.set()
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            log.warning("history.batch_abandoned")

    async def _up(self, connection: AbstractConnection) -> None:
        """Consume as long as the connection lasts; any error raised opens another connection."""
        try:
            await self._consume(connection)
        finally:
            self._problem = "not connected to the broker"

    async def _consume(self, connection: AbstractConnection) -> None:
        intake = _Intake()
        with broker_call():
            channel = await connection.channel(publisher_confirms=True)
            await channel.set_qos(prefetch_count=_PREFETCH, timeout=_ANSWER_S)
            await self._depth(channel)
            channel.close_callbacks.add(lambda _, error: intake.end(error))
            (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(lambda _: intake.end(None))
            queue = await channel.get_queue(self.queue, ensure=False)
            await queue.consume(intake.put, timeout=_ANSWER_S)
        self._problem = None
        log.info("history.consuming", queue=self.queue)
        while not self._stopping.is_set():
            batch = await intake.batch()
            if batch and not self._stopping.is_set():
                await self._deal_with(batch, channel, intake)
            elif not batch and await self._depth(channel):
                raise ConnectionError("the broker delivers nothing, although messages wait")

    async def _depth(self, channel: AbstractChannel) -> int:
        """The number of undelivered messages. Polled, because brokers have silently lost consumers."""
        try:
            with broker_call():
                found = await channel.declare_queue(self.queue, passive=True, timeout=_ANSWER_S)
        except ChannelNotFoundEntity:
            raise ConfigurationError(f"queue {self.queue} does not exist: run `sendas topology apply`") from None
        return found.declaration_result.message_count or 0

    async def _deal_with(
        self, batch: Sequence[AbstractIncomingMessage], channel: AbstractChannel, intake: _Intake
    ) -> None:
        self._idle.clear()
        try:
            problems = await self._handled([message.body for message in batch], intake)
            for message, problem in zip(batch, problems, strict=True):
                if problem is not None:
                    await self._bury(message, problem, channel)
            with broker_call():
                async with asyncio.timeout(_ANSWER_S):  # waits for a writer that may end with its connection
                    await batch[-1].ack(multiple=True)  # batches follow the delivery order
        finally:
            self._idle.set()

    async def _handled(self, bodies: Sequence[bytes], intake: _Intake) -> Sequence[str | None]:
        wait_s, began = self._first_wait_s, self._clock.monotonic()
        while True:
            try:
                problems = await self._handle(bodies)
            except Unavailable as error:
                self._problem = str(error)
                self._paused()
                log.warning("history.waiting", error=str(error), wait_s=wait_s, messages=len(bodies))
                intake.require()
                if self._clock.monotonic() - began > self._hold_s:
                    raise ConnectionError("messages were held for too long") from None
                await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, decides nothing
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
            else:
                self._problem = None
                return problems

    async def _bury(self, message: AbstractIncomingMessage, problem: str, channel: AbstractChannel) -> None:
        """Publish the message to the dead queue, confirmed by the broker."""
        log.error("history.result_refused", problem=problem, bytes=len(message.body))
        arrival = Arrival(self.queue, message.body, dict(message.headers), message.content_type)
        reason = requeue.DeadLetterReason(Reason.INVALID_EVENT, problem, self._clock.now())
        dead = requeue.dead(arrival, self._topology, reason)
        letter = Message(
            dead.body,
            headers=dict(dead.headers),
            content_type=dead.content_type,
            delivery_mode=DeliveryMode.PERSISTENT,
        )
        with broker_call():
            await channel.default_exchange.publish(letter, dead.routing_key, mandatory=True, timeout=_ANSWER_S)

"""Consumes a queue: bounded, one task per message, settled in one place."""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.abc import AbstractChannel as Underlay
from aiormq.abc import DeliveredMessage

from worker.adapters.addresses.broker import Broker
from worker.adapters.broker.connection import BROKER_ERRORS, ChannelCalls, ReconnectingConnection, broker_call
from worker.delivery.instrumentation import NO_TRACING, Stage, Tracer
from worker.delivery.messages import Arrival, Handler, Publication
from worker.delivery.signatures import Signatures
from worker.errors import Unavailable
from worker.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 15.0
_LAST_MOMENT_S = 5.0
_SETTLE_TIMEOUT_S = 10.0
_LOOK_EVERY_S = 30.0
_LOOK_TIMEOUT_S = 10.0
_HOLD_S = 20 * 60.0  # the broker forcibly requeues messages held for 30 minutes

_DELIVERIES = "x-delivery-count"
_ACQUISITIONS = "x-acquired-count"
_ACQUISITIONS_SINCE = (4, 3)
_VERSION = re.compile(r"(\d+)\.(\d+)")


def counting_headers(server_properties: Mapping[str, object]) -> tuple[str, ...]:
    """The headers in which this broker's quorum queues count how often a message was returned.

    From RabbitMQ 4.3 on the first excludes returns by `basic.nack`, and the second counts all returns. Before 4.3 the
    second is an ordinary header: what a producer writes there is not a count.
    """
    version = server_properties.get("version")
    found = _VERSION.match(version.decode("ascii", "replace") if isinstance(version, bytes) else str(version))
    if found is not None and (int(found[1]), int(found[2])) < _ACQUISITIONS_SINCE:
        return (_DELIVERIES,)
    return (_DELIVERIES, _ACQUISITIONS)


class Delivery:
    """A delivered message that is not settled yet.

    Settling only hands a frame to the connection's writer, so acknowledgements do not wait for one another.
    """

    __slots__ = ("_calls", "_counts", "_message")

    def __init__(self, message: DeliveredMessage, counts: Sequence[str], calls: ChannelCalls) -> None:
        self._message = message
        self._counts = counts
        self._calls = calls

    @property
    def is_taken_back(self) -> bool:
        """Whether the delivering channel is closed, so the message belongs to the broker again."""
        return self._message.channel.is_closed

    def arrival(self, queue: str) -> Arrival:
        """The message in the form that the delivery takes."""
        message, properties = self._message, self._message.header.properties
        headers: Mapping[str, object] = properties.headers or {}
        is_redelivered = bool(message.redelivered)
        # On first delivery the header holds at most what a producer wrote there.
        returns = max(_count(headers, name) for name in self._counts) if is_redelivered else 0
        return Arrival(queue, message.body, headers, properties.content_type, is_redelivered, returns)

    async def acknowledge(self) -> None:
        """Acknowledge the message as done. Raises one of `BROKER_ERRORS`."""
        async with self._calls.bounded():
            await self._message.channel.basic_ack(self._tag, wait=False)

    async def give_back(self, *, has_failed: bool = False) -> None:
        """Return the message for redelivery; a failed one counts towards the queue's delivery limit.

        Up to RabbitMQ 4.2 both kinds count. Raises one of `BROKER_ERRORS`.
        """
        settle = self._message.channel.basic_reject if has_failed else self._message.channel.basic_nack
        async with self._calls.bounded():
            await settle(self._tag, requeue=True, wait=False)

    @property
    def _tag(self) -> int:
        return self._message.delivery_tag or 0  # the library allows None, which occurs only in replies to `basic.get`


def _count(headers: Mapping[str, object], name: str) -> int:
    count = headers.get(name)
    return count if isinstance(count, int) else 0


class Publishes(Protocol):
    """What the consumer needs from a publisher."""

    async def publish(self, publication: Publication) -> None: ...


class Consumer:
    """Takes messages from one queue, hands them to a handler, publishes its results, then acknowledges.

    aio-pika cancels its callbacks when a channel closes, so they only start tasks, and the tasks continue: a letter
    half sent is completed and its outcome published. The late acknowledgement then fails, and the broker redelivers.

    A watchdog checks the queue every `look_every_s`, because brokers have silently lost consumers. `put_back` builds
    the replacement for a message that could not be handled within `hold_s`; without it such messages stay held.
    Headers of ours that `signatures` does not verify are removed before the handler sees the message.

    Messages come from aiormq's channel, below aio-pika's, which wraps each in another object and task: that would take
    a quarter of the consumer's CPU time.
    """

    def __init__(
        self,
        broker: Broker,
        queue: str,
        handler: Handler,
        publisher: Publishes,
        metrics: Metrics,
        *,
        prefetch: int,
        tracer: Tracer = NO_TRACING,
        put_back: Callable[[Arrival], Publication] | None = None,
        signatures: Signatures,
        look_every_s: float = _LOOK_EVERY_S,
        hold_s: float = _HOLD_S,
    ) -> None:
        self.queue = queue
        self._reconnecting = ReconnectingConnection(broker, f"sendas-consumer {queue}", self._up)
        self._handler = handler
        self._publisher = publisher
        self._metrics = metrics
        self._observe_publishing = metrics.stage.labels(Stage.PUBLISH.value).observe
        self.prefetch = prefetch
        self._tracer = tracer
        self._task_name = f"message of {queue}"
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: deque[Delivery] = deque()
        self._channel: AbstractChannel | None = None  # strong references: aio-pika keeps weak ones
        self._underlay: Underlay | None = None
        self._tag: str | None = None
        self._late: list[Delivery] = []
        self._is_stopping = False
        self._put_back = put_back
        self._signatures = signatures
        self._hold_s = hold_s
        self._look_every_s = look_every_s
        self._taken_total = 0

    @property
    def is_consuming(self) -> bool:
        return self._tag is not None and self._channel is not None and not self._channel.is_closed

    def problem(self) -> str | None:
        """What prevents consuming, as text."""
        return None if self.is_consuming else "not consuming from the broker"

    @property
    def in_flight(self) -> int:
        return len(self._tasks)

    async def run(self) -> None:
        """Consume until cancelled; stop with `stop` first."""
        await asyncio.gather(self._reconnecting.run(), self._watch())

    async def stop(self, grace_s: float, answers_s: float = _LAST_MOMENT_S) -> None:
        """Shut down gracefully: take no more, finish work in flight within `grace_s`, and return the rest.

        Cancellation does not interrupt a letter whose final dot was written. If its server does not answer within
        `answers_s` either, the letter is abandoned as uncertain: shutdown must end in bounded time.
        """
        self._is_stopping = True
        await self._cancel_consumer()
        for delivery in (*self._waiting, *self._late):
            await self._settle(delivery, is_done=False)
        await self._wait_for_tasks(grace_s)
        for task in self._tasks:
            task.cancel()
        await self._wait_for_tasks(answers_s)
        if self._tasks:
            log.warning("consumer.left_behind", queue=self.queue, messages=len(self._tasks))
        await self._flush()

    async def _flush(self) -> None:
        """Wait until the broker has applied every acknowledgement, or it would redeliver settled messages.

        The broker reads a channel's frames in order, so its reply to a later frame confirms the earlier ones. A quorum
        queue defers acknowledgements beyond 32 until the first ones are applied, and drops them with the channel (seen
        with 3.10): hence a second round trip.
        """
        if self._channel is None or self._channel.is_closed:
            return
        try:
            async with asyncio.timeout(_LAST_MOMENT_S):
                with broker_call():
                    for _ in range(2):
                        await self._channel.declare_queue(self.queue, passive=True)
        except BROKER_ERRORS as error:
            log.info("consumer.late_settlement", queue=self.queue, error=type(error).__name__)

    async def _wait_for_tasks(self, timeout_s: float) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    async def _cancel_consumer(self) -> None:
        if self._underlay is None or self._tag is None or not self.is_consuming:
            return
        try:
            with broker_call():
                await self._underlay.basic_cancel(self._tag, timeout=5)
        except BROKER_ERRORS as error:
            log.warning("consumer.cancel_failed", queue=self.queue, error=type(error).__name__)
        self._tag = None

    async def _up(self, connection: AbstractConnection) -> None:
        if self._is_stopping:
            return
        self._waiting.clear()  # they belong to the broker again, which redelivers them
        channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=self.prefetch)
        await channel.declare_queue(self.queue, passive=True)
        underlay = await channel.get_underlay_channel()
        counts = counting_headers(underlay.connection.server_properties)
        calls = ChannelCalls(channel, _SETTLE_TIMEOUT_S)

        async def take(message: DeliveredMessage) -> None:
            self._take(Delivery(message, counts, calls))

        # The broker cancels consumers when a queue is deleted or loses its leader; there is no other notice.
        underlay.on_consumer_cancel_callbacks.add(lambda *_: self._lose())
        channel.close_callbacks.add(lambda *_: self._lose())
        self._channel, self._underlay = channel, underlay
        self._tag = (await underlay.basic_consume(self.queue, take)).consumer_tag

    def _lose(self) -> None:
        if not self._is_stopping:
            log.warning("consumer.lost", queue=self.queue)
            self._tag = None
            self._reconnecting.reset()

    async def _watch(self) -> None:
        """Restart the consumer when messages are ready, there is capacity, and none arrived between two checks."""
        was_starving = False
        while True:
            taken_before = self._taken_total
            await asyncio.sleep(self._look_every_s)
            channel = self._channel
            if channel is None or not self.is_consuming:
                was_starving = False
                continue
            is_starving = await self._has_ready(channel) and self._taken_total == taken_before
            is_starving = is_starving and self.in_flight < self.prefetch and channel is self._channel
            if is_starving and was_starving:
                log.warning("consumer.starving", queue=self.queue)
                self._lose()
            was_starving = is_starving

    async def _has_ready(self, channel: AbstractChannel) -> bool:
        """Whether the queue has ready messages; a broker that does not reply in time has lost this consumer."""
        try:
            with broker_call():
                found = await channel.declare_queue(self.queue, passive=True, timeout=_LOOK_TIMEOUT_S)
        except BROKER_ERRORS as error:
            if channel is self._channel:
                log.warning("consumer.check_failed", queue=self.queue, error=type(error).__name__)
                self._lose()
            return False
        return bool(found.declaration_result.message_count)

    def _take(self, delivery: Delivery) -> None:
        if self._is_stopping:
            self._late.append(delivery)  # returned once the broker stops sending, or it would redeliver it at once
            return
        self._taken_total += 1
        self._waiting.append(delivery)
        self._start_some()

    def _start_some(self) -> None:
        """Start waiting messages while there is capacity.

        There always is, except after a lost channel: its tasks continue while the broker delivers the same number
        again. Without a limit each half hour of a blocked broker would add as many again.
        """
        while self._waiting and len(self._tasks) < self.prefetch and not self._is_stopping:
            delivery = self._waiting.popleft()
            if delivery.is_taken_back:
                continue
            task = asyncio.create_task(self._traced(delivery), name=self._task_name)
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._start_some()

    async def _traced(self, delivery: Delivery) -> None:
        with self._tracer.message(self.queue):
            await self._work(delivery)

    async def _work(self, delivery: Delivery) -> None:
        """Handle one message and settle it; a cancelled one is returned at once.

        Other workers can then take it while this one still waits for its last answers.
        """
        try:
            publications = await self._patiently(delivery)
            if publications is None:
                return
            await self._published(publications)
        except asyncio.CancelledError:
            await self._settle(delivery, is_done=False)
            raise
        except Exception:  # whatever the error, the message must not stay unsettled for ever
            log.exception("message.unhandled", queue=self.queue)
            await self._settle(delivery, is_done=False, has_failed=True)  # the queue's delivery limit ends this
        else:
            await self._settle(delivery, is_done=True)

    async def _settle(self, delivery: Delivery, *, is_done: bool, has_failed: bool = False) -> None:
        try:
            if is_done:
                await delivery.acknowledge()
            else:
                await delivery.give_back(has_failed=has_failed)
        except BROKER_ERRORS as error:
            # The delivering connection is lost, so the broker redelivers; the ledger knows what was done.
            log.info("consumer.late_settlement", queue=self.queue, error=type(error).__name__)

    async def _patiently(self, delivery: Delivery) -> Sequence[Publication] | None:
        """The handler's result. While a dependency is unavailable, the message waits unacknowledged.

        The prefetch bounds the messages held, so intake pauses by itself until the outage is over. After `hold_s` the
        message is put back for a while, as a new one: otherwise the broker would forcibly requeue it, with all others
        of the channel, and count that, so that a long outage would end in the dead queue. If the broker requeues it all
        the same, the result is None: the message is redelivered, and each redelivery would otherwise leave more tasks
        behind.
        """
        wait_s, began_s = _FIRST_WAIT_S, asyncio.get_running_loop().time()
        arrival = await self._signatures.trusted(delivery.arrival(self.queue))
        while True:
            try:
                return await self._handler(arrival)
            except Unavailable as error:
                self._metrics.intake_pauses.labels(queue=self.queue).inc()
                log.warning("intake.paused", queue=self.queue, error=str(error), wait_s=wait_s)
            if self._put_back is not None and asyncio.get_running_loop().time() - began_s >= self._hold_s:
                return [self._put_back(arrival)]
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
            if delivery.is_taken_back:
                log.info("message.redelivered", queue=self.queue)
                return None

    async def _published(self, publications: Sequence[Publication]) -> None:
        time_s = asyncio.get_running_loop().time
        began_s = time_s()
        with self._tracer.span(Stage.PUBLISH.value):
            await self._publish(publications)
        self._observe_publishing(time_s() - began_s)

    async def _publish(self, publications: Sequence[Publication]) -> None:
        """Publish everything, confirmed; only then may the message be acknowledged."""
        wait_s = _FIRST_WAIT_S
        waiting = list(publications)
        while waiting:
            outcomes = await self._publish_each(waiting)
            for outcome in outcomes:
                if isinstance(outcome, BaseException) and not isinstance(outcome, Unavailable):
                    raise outcome
            waiting = [p for p, outcome in zip(waiting, outcomes, strict=True) if outcome is not None]
            if waiting:
                log.error("publish.unroutable", routing_keys=sorted({p.routing_key for p in waiting}))
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)

    async def _publish_each(self, publications: Sequence[Publication]) -> Sequence[BaseException | None]:
        """The exception of each, or None. Most letters have one result, which needs no task of its own."""
        if len(publications) > 1:
            return await asyncio.gather(*map(self._publisher.publish, publications), return_exceptions=True)
        try:
            await self._publisher.publish(publications[0])
        except Unavailable as error:
            return [error]
        return [None]

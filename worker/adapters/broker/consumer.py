"""Consuming a queue: bounded, each message in a task of its own, and settled in one place."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Protocol

import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import ChannelInvalidStateError

from worker.adapters.broker.link import BROKER_ERRORS, Link
from worker.delivery.messages import Arrival, Handler, Publication
from worker.delivery.observing import Stage
from worker.delivery.tracing import NO_TRACING, Tracer
from worker.errors import Unavailable
from worker.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 15.0
_LAST_MOMENT_S = 5.0


class Publishes(Protocol):
    """What the consumer needs of a publisher."""

    async def publish(self, publication: Publication) -> None: ...


class Consumer:
    """Takes messages from one queue, hands them to a handler, publishes what it answers, then acknowledges.

    aio-pika cancels its callbacks when a channel drops, so they only start tasks, and the tasks go on: a letter half
    sent is finished and its outcome published. Its late acknowledgement fails then, and the message comes once more.
    """

    def __init__(
        self,
        url: str,
        queue: str,
        handler: Handler,
        publisher: Publishes,
        metrics: Metrics,
        *,
        prefetch: int,
        tracer: Tracer = NO_TRACING,
    ) -> None:
        self.queue = queue
        self._link = Link(url, f"sendas-consumer {queue}", self._up)
        self._handler = handler
        self._publisher = publisher
        self._metrics = metrics
        self.prefetch = prefetch
        self._tracer = tracer
        self._tasks: set[asyncio.Task[None]] = set()
        self._channel: AbstractChannel | None = None  # strong references: aio-pika keeps weak ones
        self._source: AbstractQueue | None = None
        self._tag: str | None = None
        self._is_stopping = False

    @property
    def is_consuming(self) -> bool:
        return self._tag is not None and self._channel is not None and not self._channel.is_closed

    def problem(self) -> str | None:
        """What keeps it from consuming, in words."""
        return None if self.is_consuming else "not consuming from the broker"

    @property
    def in_flight(self) -> int:
        return len(self._tasks)

    async def run(self) -> None:
        """Consume until cancelled; stop with `stop` first."""
        await self._link.run()

    async def stop(self, grace_s: float) -> None:
        """Take no more, finish what is in flight within `grace_s`, and give back the rest.

        A letter whose final dot was written is not cut short by cancellation. Should its server still not answer, it
        is left behind after a moment, and in doubt: the worker's end must come in bounded time.
        """
        self._is_stopping = True
        await self._cancel_consumer()
        await self._wait_for_tasks(grace_s)
        for task in self._tasks:
            task.cancel()
        await self._wait_for_tasks(_LAST_MOMENT_S)
        if self._tasks:
            log.warning("consumer.left_behind", queue=self.queue, messages=len(self._tasks))

    async def _wait_for_tasks(self, timeout_s: float) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    async def _cancel_consumer(self) -> None:
        if self._source is None or self._tag is None or not self.is_consuming:
            return
        try:
            await self._source.cancel(self._tag, timeout=5)
        except BROKER_ERRORS as error:
            log.warning("consumer.cancel_failed", queue=self.queue, error=type(error).__name__)
        self._tag = None

    async def _up(self, connection: AbstractConnection) -> None:
        if self._is_stopping:
            return
        channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=self.prefetch)
        self._source = await channel.declare_queue(self.queue, passive=True)
        underlay = await channel.get_underlay_channel()
        # The broker cancels consumers when a queue is deleted or its leader is lost; nothing else would tell.
        underlay.on_consumer_cancel_callbacks.add(lambda *_: self._lose())
        channel.close_callbacks.add(lambda *_: self._lose())
        self._channel = channel
        self._tag = await self._source.consume(self._take)

    def _lose(self) -> None:
        if not self._is_stopping:
            log.warning("consumer.lost", queue=self.queue)
            self._tag = None
            self._link.give_up()

    async def _take(self, message: AbstractIncomingMessage) -> None:
        if self._is_stopping:  # what arrives while stopping stays unacknowledged and returns to the queue
            return
        task = asyncio.create_task(self._traced(message), name=f"message of {self.queue}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _traced(self, message: AbstractIncomingMessage) -> None:
        with self._tracer.message(self.queue):
            await self._work(message)

    async def _work(self, message: AbstractIncomingMessage) -> None:
        """Deal with one message. The only place that settles; a cancelled one is given back by closing the channel."""
        arrival = Arrival(self.queue, message.body, message.headers, message.content_type, bool(message.redelivered))
        try:
            publications = await self._patiently(arrival, message)
            if publications is None:
                return
            await self._published(publications)
        except Exception:  # whatever it is, the message must not stay unsettled for ever
            log.exception("message.unhandled", queue=self.queue)
            await self._settle(message.nack(requeue=True))  # the queue's delivery limit ends this in the dead queue
        else:
            await self._settle(message.ack())

    async def _settle(self, answer: Awaitable[object]) -> None:
        try:
            await answer
        except BROKER_ERRORS as error:
            # The connection on which it came is gone, so it comes again; the ledger knows what was done.
            log.info("consumer.late_settlement", queue=self.queue, error=type(error).__name__)

    async def _patiently(self, arrival: Arrival, message: AbstractIncomingMessage) -> Sequence[Publication] | None:
        """The handler's answer. While it says that something is unavailable, the message waits unacknowledged.

        As no more messages than the prefetch are held, intake pauses by itself until the outage is over. When the
        broker takes the message back meanwhile (it does after 30 minutes), the answer is None: it comes once more,
        and each outage would leave more tasks behind otherwise.
        """
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                return await self._handler(arrival)
            except Unavailable as error:
                self._metrics.intake_pauses.labels(queue=self.queue).inc()
                log.warning("intake.paused", queue=self.queue, error=str(error), wait_s=wait_s)
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
            if _is_taken_back(message):
                log.info("message.taken_back", queue=self.queue)
                return None

    async def _published(self, publications: Sequence[Publication]) -> None:
        began = asyncio.get_running_loop().time()
        with self._tracer.span(Stage.PUBLISH.value):
            await self._publish(publications)
        self._metrics.stage.labels(stage=Stage.PUBLISH.value).observe(asyncio.get_running_loop().time() - began)

    async def _publish(self, publications: Sequence[Publication]) -> None:
        """Publish everything, confirmed; only then may the message be acknowledged."""
        wait_s = _FIRST_WAIT_S
        waiting = list(publications)
        while waiting:
            outcomes = await asyncio.gather(*map(self._publisher.publish, waiting), return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, BaseException) and not isinstance(outcome, Unavailable):
                    raise outcome
            waiting = [p for p, outcome in zip(waiting, outcomes, strict=True) if outcome is not None]
            if waiting:
                log.error("publish.unroutable", routing_keys=sorted({p.routing_key for p in waiting}))
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)


def _is_taken_back(message: AbstractIncomingMessage) -> bool:
    """Whether the channel that a message came on is gone, and so the message is the broker's again."""
    try:
        return message.channel.is_closed
    except ChannelInvalidStateError:
        return True

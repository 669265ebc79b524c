"""Publishes persistent messages with confirms, retrying until the broker has them."""

import asyncio
from functools import cache
from typing import Self, cast

import structlog
from aio_pika import DeliveryMode
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import DeliveryError, PublishError
from aiormq import Channel, spec

from worker.adapters.addresses.broker import Broker
from worker.adapters.broker.connection import BROKER_ERRORS, ChannelCalls, ReconnectingConnection, broker_call
from worker.delivery.messages import MAX_HEADER_BYTES, Publication, header_bytes
from worker.delivery.signatures import Signatures
from worker.errors import OversizedPublication, Unavailable
from worker.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_CONFIRM_TIMEOUT_S = 60.0
_NACK_WAIT_S = 1.0
_SILENT_S = 10.0
_MAX_SHORT_BYTES = 255  # of a text property (AMQP 0-9-1, section 4.2.5.3)


class Publisher:
    """Publishes on its own connection: a broker alarm blocks publishers, and must not block acknowledgements."""

    def __init__(
        self,
        broker: Broker,
        metrics: Metrics,
        *,
        max_bytes: int,
        signatures: Signatures | None = None,
        name: str = "sendas-publisher",
    ) -> None:
        """`signatures` signs all messages to queues; unsigned, their headers of ours are trusted nowhere."""
        self._reconnecting = ReconnectingConnection(broker, name, self._up)
        self._metrics = metrics
        self._results = cache(metrics.results.labels)  # types are a closed list
        self._max_bytes = max_bytes
        self._signatures = signatures
        self._connection: AbstractConnection | None = None
        self._channel: _ConfirmChannel | None = None
        self._is_up = asyncio.Event()
        self._waiting: dict[object, float] = {}  # when each pending publication began to wait, oldest first

    def problem(self) -> str | None:
        """What prevents publishing, as text."""
        if not self._is_up.is_set():
            return "not connected to the broker"
        if (waiting_s := self.waiting_s) > _SILENT_S:
            return f"the broker has not confirmed a message for {waiting_s:.0f} s: is it out of memory or disk?"
        return None

    @property
    def waiting_s(self) -> float:
        """How long the oldest pending publication has waited for its confirm, in seconds; 0 when there is none."""
        began = next(iter(self._waiting.values()), None)
        return 0.0 if began is None else asyncio.get_running_loop().time() - began

    async def run(self) -> None:
        """Keep the connection open until cancelled."""
        await self._reconnecting.run()

    async def wait_until_up(self) -> None:
        """Wait for a connection, however long that takes."""
        await self._is_up.wait()

    async def publish(self, publication: Publication) -> None:
        """Publish one message; returns once the broker has confirmed it, however long an outage lasts.

        Raises:
            OversizedPublication: the message exceeds the broker's size limit.
            Unavailable: the message must reach a queue, and is routed to none.
        """
        if self._signatures is not None:
            publication = await self._signatures.signed(publication)
        self._check_size(publication)
        key = object()
        self._waiting[key] = asyncio.get_running_loop().time()
        try:
            while not await self._try(publication):
                self._metrics.publish_retries.inc()
        finally:
            del self._waiting[key]
        if publication.type is not None:
            self._results(publication.type).inc()

    def _check_size(self, publication: Publication) -> None:
        size = len(publication.body)
        if size > self._max_bytes:
            raise OversizedPublication(f"a message of {size} bytes; the broker takes {self._max_bytes}")
        headers_size = sum(header_bytes(name, value) for name, value in publication.headers.items())
        if headers_size > MAX_HEADER_BYTES:
            raise OversizedPublication(f"a message with {headers_size} bytes of headers")

    async def _try(self, publication: Publication) -> bool:
        """One attempt; False when it must be repeated. Consumers drop duplicates by the event's id."""
        await self._is_up.wait()
        channel = self._channel
        if channel is None:
            return False
        try:
            await channel.publish(publication)
        except PublishError:
            self._returned(publication)
        except DeliveryError:
            await self._refused(channel)
            return False
        except BROKER_ERRORS as error:
            log.warning("broker.publish_failed", routing_key=publication.routing_key, error=type(error).__name__)
            self._down(channel)
            return False
        return True

    def _returned(self, publication: Publication) -> None:
        if publication.must_route:
            raise Unavailable(f"no queue takes messages for {publication.routing_key}: run `sendas topology apply`")
        self._metrics.results_unrouted.inc()

    async def _refused(self, channel: "_ConfirmChannel") -> None:
        """Handle a negative confirm: a queue is full or currently has no leader.

        A channel whose first publish meets a leader election is refused for ever (seen with 3.10), so the next attempt
        uses another one, on the same connection: other publications in flight are unrelated to that queue.
        """
        if channel is self._channel and self._connection is not None:
            self._is_up.clear()
            self._channel = None
            try:
                await self._open(self._connection)
                await channel.retire()
            except BaseException as error:  # also cancellation: others wait for a channel
                self._reconnecting.reset()
                if not isinstance(error, BROKER_ERRORS):
                    raise
        await asyncio.sleep(_NACK_WAIT_S)

    def _down(self, channel: "_ConfirmChannel") -> None:
        """Reconnect, unless another publication that failed at the same time already requested it."""
        if channel is self._channel:
            self._is_up.clear()
            self._channel = None
            self._reconnecting.reset()

    async def _up(self, connection: AbstractConnection) -> None:
        self._connection = connection
        connection.close_callbacks.add(lambda *_: self._closed(connection))
        await self._open(connection)

    async def _open(self, connection: AbstractConnection) -> None:
        with broker_call():
            channel = await _ConfirmChannel.open(connection)
        if connection is self._connection:
            self._channel = channel
            self._is_up.set()

    def _closed(self, connection: AbstractConnection) -> None:
        # An old connection may close long after the next one is up.
        if connection is self._connection:
            self._is_up.clear()
            self._channel = self._connection = None


class _ConfirmChannel:
    """A channel with publisher confirms. A retired one closes once nothing is in flight on it.

    Publishes through aiormq's channel, below aio-pika's: there a publication need not wait until the previous one has
    left the socket, which saves a quarter of the CPU time.
    """

    def __init__(self, channel: AbstractChannel, underlay: Channel) -> None:
        self._channel = channel  # a strong reference: aio-pika keeps weak ones
        self._underlay = underlay
        self._calls = ChannelCalls(channel, _CONFIRM_TIMEOUT_S)
        self._in_flight = 0
        self._is_retired = False

    @classmethod
    async def open(cls, connection: AbstractConnection) -> Self:
        """Open a channel for publishing. Raises one of `BROKER_ERRORS`."""
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        return cls(channel, cast(Channel, await channel.get_underlay_channel()))

    async def publish(self, publication: Publication) -> None:
        """Publish, and wait for the broker's confirm. Many publications wait concurrently.

        aiormq gives each message a random id, by which it matches returned messages.

        Raises:
            PublishError: the message is routed to no queue.
            DeliveryError: the broker could not store it; publish it again.
            Exception: one of `BROKER_ERRORS`: the outcome is unknown.
            TypeError: the content type is longer than AMQP allows.
        """
        self._in_flight += 1
        try:
            async with self._calls.bounded():
                await self._publish(publication)
        finally:
            self._in_flight -= 1
            if self._is_retired:
                await self._close_if_done()

    async def _publish(self, publication: Publication) -> None:
        with broker_call():
            await self._underlay.basic_publish(
                publication.body,
                exchange=publication.exchange,
                routing_key=publication.routing_key,
                properties=message_properties(publication),
                mandatory=True,
                wait=False,
            )

    async def retire(self) -> None:
        """Close once nothing is in flight."""
        self._is_retired = True
        await self._close_if_done()

    async def _close_if_done(self) -> None:
        if self._in_flight or self._channel.is_closed:
            return
        try:
            with broker_call():
                await self._channel.close()
        except BROKER_ERRORS:  # the channel ends with its connection; the last publication is confirmed all the same
            log.debug("broker.close_failed")


def message_properties(publication: Publication) -> spec.Basic.Properties:
    """The properties of a persistent message.

    An id may have 1,000 characters, and a property holds 255 bytes. A correlation id or type that does not fit is
    omitted: both are in the body too, and their length must not cost a result.
    """
    return spec.Basic.Properties(
        content_type=publication.content_type,
        headers=dict(publication.headers),
        delivery_mode=DeliveryMode.PERSISTENT,
        correlation_id=_if_short(publication.correlation_id),
        timestamp=publication.timestamp,
        message_type=_if_short(publication.type),
        app_id="sendas",
    )


def _if_short(text: str | None) -> str | None:
    return text if text is not None and len(text.encode()) <= _MAX_SHORT_BYTES else None

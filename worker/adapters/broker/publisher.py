"""Publishing: persistent, confirmed, and tried again until the broker has it."""

import asyncio
from uuid import uuid4

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import DeliveryError, PublishError

from worker.adapters.broker.link import BROKER_ERRORS, Link
from worker.delivery.messages import Publication
from worker.errors import OversizedPublication, Unavailable
from worker.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_CONFIRM_TIMEOUT_S = 60.0
_NACK_WAIT_S = 1.0


class Publisher:
    """Publishes on a connection of its own: a broker alarm blocks publishers, and must not block acknowledging."""

    def __init__(self, url: str, metrics: Metrics, *, max_bytes: int, name: str = "sendas-publisher") -> None:
        self._link = Link(url, name, self._up)
        self._metrics = metrics
        self._max_bytes = max_bytes
        self._channel: AbstractChannel | None = None
        self._exchanges: dict[str, AbstractExchange] = {}
        self._is_up = asyncio.Event()

    def problem(self) -> str | None:
        """What keeps it from publishing, in words."""
        return None if self._is_up.is_set() else "not connected to the broker"

    async def run(self) -> None:
        """Keep the connection up, until cancelled."""
        await self._link.run()

    async def publish(self, publication: Publication) -> None:
        """Publish one message; returns when the broker has confirmed it, however long its outage takes.

        Raises:
            OversizedPublication: the message is larger than the broker takes.
            Unavailable: no queue takes it although one must.
        """
        if len(publication.body) > self._max_bytes:
            raise OversizedPublication(
                f"a message of {len(publication.body)} bytes; the broker takes {self._max_bytes}"
            )
        while not await self._try(publication):
            self._metrics.publish_retries.inc()

    async def _try(self, publication: Publication) -> bool:
        """One try; False when it must be repeated. A repeated message is dropped by its id further on."""
        await self._is_up.wait()
        channel = self._channel
        try:
            exchange = await self._exchange(publication.exchange)
            await exchange.publish(
                _message(publication), publication.routing_key, mandatory=True, timeout=_CONFIRM_TIMEOUT_S
            )
        except PublishError:
            return self._returned(publication)
        except DeliveryError:
            # The broker said no: a queue is full or has no leader just now. A channel whose first publish meets a
            # leader election is refused for ever (seen with 3.10), so the next try is on another one.
            self._down(channel)
            await asyncio.sleep(_NACK_WAIT_S)
            return False
        except BROKER_ERRORS as error:
            log.warning("broker.publish_failed", routing_key=publication.routing_key, error=type(error).__name__)
            self._down(channel)
            return False
        return True

    def _returned(self, publication: Publication) -> bool:
        if publication.must_route:
            raise Unavailable(f"no queue takes messages for {publication.routing_key}: run `sendas topology apply`")
        self._metrics.results_unrouted.inc()
        return True

    def _down(self, channel: AbstractChannel | None) -> None:
        """Build anew, unless somebody who failed at the same time already did."""
        if channel is self._channel:
            self._is_up.clear()
            self._link.give_up()

    async def _up(self, connection: AbstractConnection) -> None:
        self._channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        self._exchanges = {"": self._channel.default_exchange}
        self._is_up.set()
        connection.close_callbacks.add(lambda *_: self._is_up.clear())

    async def _exchange(self, name: str) -> AbstractExchange:
        if name not in self._exchanges and self._channel is not None:
            self._exchanges[name] = await self._channel.get_exchange(name, ensure=False)
        return self._exchanges[name]


def _message(publication: Publication) -> aio_pika.Message:
    return aio_pika.Message(
        publication.body,
        headers=dict(publication.headers),
        content_type=publication.content_type,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        # Returned messages are matched by this id, so two in flight must not share one.
        message_id=publication.message_id or uuid4().hex,
        correlation_id=publication.correlation_id,
        type=publication.type,
        timestamp=publication.timestamp,
        app_id="sendas",
    )

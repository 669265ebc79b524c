"""Publishing: persistent, confirmed, and tried again until the broker has it."""

import asyncio
from functools import cache

import structlog

from worker.adapters.addresses.broker import Broker
from worker.adapters.broker.confirms import Fate
from worker.adapters.broker.connection import BROKER_ERRORS, ReconnectingConnection, end_if_cancelled
from worker.adapters.broker.outlet import Outlet
from worker.adapters.broker.tap import TappedConnection
from worker.delivery.messages import MAX_HEADER_BYTES, Publication, header_bytes
from worker.delivery.signatures import Signatures
from worker.errors import OversizedPublication, Unavailable
from worker.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_NACK_WAIT_S = 1.0
_SILENT_S = 10.0


class Publisher:
    """Publishes on a connection of its own: a broker alarm blocks publishers, and must not block acknowledging."""

    def __init__(
        self,
        broker: Broker,
        metrics: Metrics,
        *,
        max_bytes: int,
        signatures: Signatures | None = None,
        name: str = "sendas-publisher",
    ) -> None:
        """`signatures` signs all messages for queues; without it their headers of ours are believed nowhere."""
        self._reconnecting = ReconnectingConnection(broker, name, self._up)
        self._metrics = metrics
        self._results = cache(metrics.results.labels)  # types are a closed list
        self._max_bytes = max_bytes
        self._signatures = signatures
        self._connection: TappedConnection | None = None
        self._outlet: Outlet | None = None
        self._is_up = asyncio.Event()
        self._waiting: dict[object, float] = {}  # since when each publication in hand waits, the oldest first

    def problem(self) -> str | None:
        """What keeps it from publishing, in words."""
        if not self._is_up.is_set():
            return "not connected to the broker"
        if (waiting_s := self.waiting_s) > _SILENT_S:
            return f"the broker has not confirmed a message for {waiting_s:.0f} s: is it out of memory or disk?"
        return None

    @property
    def waiting_s(self) -> float:
        """How long the oldest publication in hand has been waiting to be confirmed; 0 when there is none."""
        began = next(iter(self._waiting.values()), None)
        return 0.0 if began is None else asyncio.get_running_loop().time() - began

    async def run(self) -> None:
        """Keep the connection up, until cancelled."""
        await self._reconnecting.run()

    async def wait_until_up(self) -> None:
        """Return when there is a connection, however long that takes."""
        await self._is_up.wait()

    async def publish(self, publication: Publication) -> None:
        """Publish one message; returns when the broker has confirmed it, however long its outage takes.

        Raises:
            OversizedPublication: the message is larger than the broker takes.
            Unavailable: no queue takes it although one must.
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
        """One try; False when it must be repeated. A repeated message is dropped by its id further on."""
        await self._is_up.wait()
        outlet = self._outlet
        if outlet is None:
            return False
        try:
            fate = await outlet.publish(publication)
        except BROKER_ERRORS as error:
            end_if_cancelled(error)
            log.warning("broker.publish_failed", routing_key=publication.routing_key, error=type(error).__name__)
            self._down(outlet)
            return False
        if fate is Fate.RETURNED:
            return self._returned(publication)
        if fate is Fate.REFUSED:
            await self._refused(outlet)
        return fate is Fate.CONFIRMED

    def _returned(self, publication: Publication) -> bool:
        if publication.must_route:
            raise Unavailable(f"no queue takes messages for {publication.routing_key}: run `sendas topology apply`")
        self._metrics.results_unrouted.inc()
        return True

    async def _refused(self, outlet: Outlet) -> None:
        """The broker said no: a queue is full or has no leader just now.

        A channel whose first publish meets a leader election is refused for ever (seen with 3.10), so the next try is
        on another one. On the same connection: the other publications in flight are none of that queue's affair.
        """
        if outlet is self._outlet and self._connection is not None:
            self._is_up.clear()
            self._outlet = None
            try:
                await self._open(self._connection)
                await outlet.retire()
            except BaseException as error:  # also cancellation: others wait for a channel
                self._reconnecting.reset()
                if not isinstance(error, BROKER_ERRORS):
                    raise
        await asyncio.sleep(_NACK_WAIT_S)

    def _down(self, outlet: Outlet) -> None:
        """Build anew, unless somebody who failed at the same time already did."""
        if outlet is self._outlet:
            self._is_up.clear()
            self._outlet = None
            self._reconnecting.reset()

    async def _up(self, connection: TappedConnection) -> None:
        self._connection = connection
        connection.close_callbacks.add(lambda *_: self._closed(connection))
        await self._open(connection)

    async def _open(self, connection: TappedConnection) -> None:
        outlet = await Outlet.open(connection)
        if connection is self._connection:
            self._outlet = outlet
            self._is_up.set()

    def _closed(self, connection: TappedConnection) -> None:
        # An old connection may close long after the next one is up.
        if connection is self._connection:
            self._is_up.clear()
            self._outlet = self._connection = None

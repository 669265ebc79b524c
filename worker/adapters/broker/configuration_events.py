"""Hearing of `configuration.changed`: every worker does, so each has a queue of its own while it is connected."""

import structlog
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage

from worker.adapters.addresses.broker import Broker
from worker.adapters.broker.connection import ReconnectingConnection
from worker.delivery.ports import SnapshotService
from worker.domain.cloudevents import parse
from worker.domain.events import ConfigurationChanged
from worker.domain.topology import Topology
from worker.domain.vocabulary import EventType
from worker.errors import InvalidEvent

log = structlog.get_logger(__name__)

_MAX_BYTES = 16 * 1024  # it holds a number


class ConfigurationEvents:
    """Has the snapshot refreshed when the product says that there is a newer one."""

    def __init__(self, broker: Broker, topology: Topology, snapshot: SnapshotService) -> None:
        self._connection = ReconnectingConnection(broker, "sendas-configuration-events", self._up)
        self._topology = topology
        self._snapshot = snapshot

    async def run(self) -> None:
        """Listen until cancelled."""
        await self._connection.run()

    async def _up(self, connection: AbstractConnection) -> None:
        channel = await connection.channel()
        channel.close_callbacks.add(lambda *_: self._connection.reset())
        # Without a name the broker makes one up; exclusive: it goes with the connection. What is announced while
        # nobody listens is found at the next interval.
        self._queue = await channel.declare_queue(exclusive=True, auto_delete=True)
        await self._queue.bind(self._topology.events_exchange, EventType.CONFIGURATION_CHANGED.value)
        await self._queue.consume(self._heard, no_ack=True)

    async def _heard(self, message: AbstractIncomingMessage) -> None:
        if len(message.body) > _MAX_BYTES:
            log.warning("announcement.invalid", problem="body: too long")
            return
        try:
            event = parse(message.headers, message.content_type, message.body)
        except InvalidEvent as error:
            log.warning("announcement.invalid", problem=str(error))
            return
        if isinstance(event.data, ConfigurationChanged) and event.data.version > self._snapshot.directory.version:
            log.info("snapshot.announced", version=event.data.version)
            await self._snapshot.refresh()

"""Listens for `configuration.changed`. Every worker needs it, so each has its own exclusive queue."""

import structlog
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage

from worker.adapters.addresses.broker import Broker
from worker.adapters.broker.connection import ReconnectingConnection
from worker.delivery.ports import SnapshotService
from worker.domain.events.cloudevents import parse
from worker.domain.events.models import ConfigurationChanged
from worker.domain.topology import Topology
from worker.domain.vocabulary import EventType
from worker.errors import InvalidEvent

log = structlog.get_logger(__name__)

_MAX_BYTES = 16 * 1024  # the body holds a number


class ConfigurationEvents:
    """Triggers a snapshot refresh when the product announces a newer one."""

    def __init__(self, broker: Broker, topology: Topology, snapshot: SnapshotService) -> None:
        self._reconnecting = ReconnectingConnection(broker, "sendas-configuration-events", self._up)
        self._topology = topology
        self._snapshot = snapshot

    async def run(self) -> None:
        """Listen until cancelled."""
        await self._reconnecting.run()

    async def _up(self, connection: AbstractConnection) -> None:
        channel = await connection.channel()
        channel.close_callbacks.add(lambda *_: self._reconnecting.reset())
        # The broker generates the name, and deletes an exclusive queue with its connection. The next periodic refresh
        # finds a version announced in between.
        self._queue = await channel.declare_queue(exclusive=True, auto_delete=True)
        await self._queue.bind(self._topology.events_exchange, EventType.CONFIGURATION_CHANGED.value)
        await self._queue.consume(self._refresh, no_ack=True)

    async def _refresh(self, message: AbstractIncomingMessage) -> None:
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

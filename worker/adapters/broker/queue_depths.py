"""Polls the broker for the number of messages in each queue.

Every worker reports all queues, so that the metrics survive the loss of a worker. A sum over workers would count each
message several times: use `max by (queue)`.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass

from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelClosed

from worker.adapters.addresses.broker import Broker
from worker.adapters.broker.connection import ReconnectingConnection, broker_call
from worker.domain.topology import Topology

_EVERY_S = 10.0
_STALE_AFTER_POLLS = 4
_ANSWER_S = 5.0


@dataclass(frozen=True, slots=True)
class Depth:
    """A queue as the broker reports it: ready messages (without unacknowledged ones), and consumers."""

    messages: int
    consumers: int


class QueueDepths:
    """Holds the depths of all queues. Depths older than a few polls are not reported."""

    def __init__(self, broker: Broker, topology: Topology, every_s: float = _EVERY_S) -> None:
        self._reconnecting = ReconnectingConnection(broker, "sendas-depths", self._up)
        self._topology = topology
        self._every_s = every_s
        self._depths: Mapping[str, Depth] = {}
        self._polled_at = 0.0

    async def run(self) -> None:
        """Poll until cancelled."""
        await self._reconnecting.run()

    def messages(self) -> dict[tuple[str, ...], float]:
        """Messages by queue and kind of queue."""
        return {(name, self._topology.kind(name)): depth.messages for name, depth in self._known().items()}

    def consumers(self) -> dict[str, float]:
        """Consumers by work queue."""
        return {name: depth.consumers for name, depth in self._known().items() if self._topology.kind(name) == "work"}

    def _known(self) -> Mapping[str, Depth]:
        age_s = asyncio.get_running_loop().time() - self._polled_at
        return self._depths if age_s <= self._every_s * _STALE_AFTER_POLLS else {}

    async def _up(self, connection: AbstractConnection) -> None:
        """Poll until the connection ends; any error raised opens another connection."""
        while True:
            await self._poll(connection)
            # Jitter: workers that start together must not poll in step for ever.
            await asyncio.sleep(self._every_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load, decides nothing

    async def _poll(self, connection: AbstractConnection) -> None:
        depths: dict[str, Depth] = {}
        channel = await _opened(connection)
        # Closed only when all went well: any error here ends the connection, and the channel with it.
        for queue in self._topology.queues():
            depth, channel = await self._depth(connection, channel, queue.name)
            if depth is not None:
                depths[queue.name] = depth
        with broker_call():
            await channel.close()
        self._depths, self._polled_at = depths, asyncio.get_running_loop().time()

    async def _depth(
        self, connection: AbstractConnection, channel: AbstractChannel, name: str
    ) -> tuple[Depth | None, AbstractChannel]:
        """The depth (None: no such queue), and the channel to use next: the reply for a missing queue closes it."""
        try:
            with broker_call():
                queue = await channel.declare_queue(name, passive=True, timeout=_ANSWER_S)
        except ChannelClosed:
            return None, await _opened(connection)
        counted = queue.declaration_result
        return Depth(counted.message_count or 0, counted.consumer_count or 0), channel


async def _opened(connection: AbstractConnection) -> AbstractChannel:
    """A channel; opening one can swallow a cancellation, and this would poll for ever."""
    with broker_call():
        return await connection.channel(publisher_confirms=False)

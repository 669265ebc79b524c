"""How many messages wait in each queue, asked of the broker passively, again and again.

Every worker asks for the same, so that no worker's failure leaves the numbers without a teller; whoever adds them up
over workers counts them as often as there are workers (`max by (queue)` is right).
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass

from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelClosed

from worker.adapters.addresses.broker import Broker
from worker.adapters.broker.connection import ReconnectingConnection, end_if_cancelled
from worker.domain.topology import Topology

_EVERY_S = 10.0
_FORGOTTEN_AFTER_LOOKS = 4
_ANSWER_S = 5.0


@dataclass(frozen=True, slots=True)
class Depth:
    """A queue as the broker sees it: messages ready (those in work are not among them), and consumers."""

    messages: int
    consumers: int


class QueueDepths:
    """Keeps the depths of all queues. What is older than a few looks is not told any more: no number, no false calm."""

    def __init__(self, broker: Broker, topology: Topology, every_s: float = _EVERY_S) -> None:
        self._connection = ReconnectingConnection(broker, "sendas-depths", self._up)
        self._topology = topology
        self._every_s = every_s
        self._depths: Mapping[str, Depth] = {}
        self._looked_at = 0.0

    async def run(self) -> None:
        """Look until cancelled."""
        await self._connection.run()

    def messages(self) -> dict[tuple[str, ...], float]:
        """Messages by queue and kind of queue."""
        return {(name, self._topology.kind(name)): depth.messages for name, depth in self._known().items()}

    def consumers(self) -> dict[str, float]:
        """Consumers by work queue."""
        return {name: depth.consumers for name, depth in self._known().items() if self._topology.kind(name) == "work"}

    def _known(self) -> Mapping[str, Depth]:
        age_s = asyncio.get_running_loop().time() - self._looked_at
        return self._depths if age_s <= self._every_s * _FORGOTTEN_AFTER_LOOKS else {}

    async def _up(self, connection: AbstractConnection) -> None:
        """Look as long as the connection lasts; what it raises when it does not has the link open another one."""
        while True:
            await self._look(connection)
            # Workers that started together must not ask together for ever.
            await asyncio.sleep(self._every_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load, decides nothing

    async def _look(self, connection: AbstractConnection) -> None:
        depths: dict[str, Depth] = {}
        channel = await connection.channel(publisher_confirms=False)
        # Closed only at the good end: whatever else ends the look ends the connection too.
        for queue in self._topology.queues():
            depth, channel = await self._depth(connection, channel, queue.name)
            if depth is not None:
                depths[queue.name] = depth
        await channel.close()
        end_if_cancelled()
        self._depths, self._looked_at = depths, asyncio.get_running_loop().time()

    async def _depth(
        self, connection: AbstractConnection, channel: AbstractChannel, name: str
    ) -> tuple[Depth | None, AbstractChannel]:
        """The depth, None where there is no such queue; and the channel to go on with, as that question costs one."""
        try:
            queue = await channel.declare_queue(name, passive=True, timeout=_ANSWER_S)
        except ChannelClosed as error:
            end_if_cancelled(error)
            return None, await connection.channel(publisher_confirms=False)
        counted = queue.declaration_result
        return Depth(counted.message_count or 0, counted.consumer_count or 0), channel

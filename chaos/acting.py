"""Letting the scheduled faults happen to the servers and workers."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from chaos.faults import Faults
from chaos.plan import Act
from chaos.snapshots import SnapshotSource
from chaos.workers import Worker
from stack import PostgreSQL
from stack.fault_proxy import FaultProxy
from stack.rabbit_node import RabbitNode


@dataclass
class Actors:
    """Each method does one act, and returns when what it met is whole again."""

    faults: Faults
    nodes: Sequence[RabbitNode]
    postgresql: PostgreSQL
    source: SnapshotSource
    workers: Sequence[Worker]
    balancer: FaultProxy

    async def play(self, schedule: dict[str, list[Act]], began: float, until: float) -> None:
        """Play all acts that can begin before `until`, as the loop's clock has it."""
        await asyncio.gather(*(self._play(whom, acts, began, until) for whom, acts in schedule.items()))

    async def _play(self, whom: str, acts: Sequence[Act], began: float, until: float) -> None:
        now = asyncio.get_running_loop().time
        for act in acts:
            await asyncio.sleep(max(0.0, began + act.at_s - now()))
            if now() >= until:  # those before it took their time
                return
            self.faults.happened(f"{whom}.{act.kind}")
            match whom:
                case "broker":
                    await self._broker(act)
                case "database":
                    await self._database(act)
                case "snapshot":
                    self.source.misbehave(act.kind)
                    await asyncio.sleep(act.seconds)
                    self.source.behave()
                case "worker":
                    await self._worker(act)
                case _:
                    self.balancer.reset_all()

    async def _broker(self, act: Act) -> None:
        node = self.nodes[act.target]
        await node.kill()
        await asyncio.sleep(act.seconds)
        await node.start()

    async def _database(self, act: Act) -> None:
        if act.kind == "kill":
            await self.postgresql.kill()
        else:
            await self.postgresql.stop()
        await asyncio.sleep(act.seconds)
        await self.postgresql.start()

    async def _worker(self, act: Act) -> None:
        worker = self.workers[act.target]
        if act.kind == "freeze":
            worker.freeze()
            await asyncio.sleep(act.seconds)
            worker.thaw()
            return
        if act.kind == "kill":
            await worker.kill()
        else:
            await worker.stop()
        await asyncio.sleep(act.seconds)
        await worker.start()

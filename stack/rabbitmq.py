"""RabbitMQ: a broker of one node, or a cluster of several, with a private name server (epmd)."""

import asyncio
import secrets
from pathlib import Path

from stack.authority import MutualTls
from stack.ports import free_ports
from stack.probe import greets
from stack.process import Child
from stack.rabbit_node import Distribution, RabbitNode


class RabbitMQ:
    """A broker of `size` clustered nodes. `management` adds the HTTP API and its pages to the first node.

    `tls` gives the first node a port for clients with a certificate.
    """

    def __init__(
        self, directory: Path, *, size: int = 1, management: bool = False, tls: MutualTls | None = None
    ) -> None:
        directory.mkdir(parents=True)
        [epmd_port] = free_ports(1)
        self._epmd_port = epmd_port
        self._epmd = Child(
            "epmd",
            # Started here, and nodes are told not to start it: one started by a node would outlive them all.
            ["epmd", "-port", str(epmd_port), "-address", "127.0.0.1"],
            log=directory / "epmd.log",
            cwd=directory,
        )
        distribution = Distribution(epmd_port, secrets.token_hex(16))
        first = RabbitNode(directory / "rabbit1", "rabbit1", distribution, management=management, tls=tls)
        others = [
            RabbitNode(directory / f"rabbit{number}", f"rabbit{number}", distribution, seed=first.name)
            for number in range(2, size + 1)
        ]
        self.nodes: tuple[RabbitNode, ...] = (first, *others)

    @property
    def first(self) -> RabbitNode:
        """The first node; a broker of one node has no other."""
        return self.nodes[0]

    @property
    def amqp_url(self) -> str:
        """AMQP URL of the first node's default virtual host."""
        return self.first.amqp_url

    @property
    def amqps_url(self) -> str:
        """The same over TLS."""
        return self.first.amqps_url

    async def start(self) -> None:
        """Start, or restart with the same data, ports and cluster."""
        await self._epmd.start(self._is_epmd_ready)
        try:
            if self.first.is_new:
                # New nodes look for the first one, so it must be running.
                await self.first.start()
                await asyncio.gather(*(node.start() for node in self.nodes[1:]))
            else:
                # Nodes that have formed a cluster wait for each other.
                await asyncio.gather(*(node.start() for node in self.nodes))
        except BaseException:
            await self.stop()
            raise

    async def _is_epmd_ready(self) -> bool:
        # NAMES_REQ; the reply starts with epmd's own port number.
        return await greets(self._epmd_port, self._epmd_port.to_bytes(4, "big"), hello=b"\x00\x01n")

    async def stop(self) -> None:
        """Shut down all nodes cleanly, then the name server; the data stay."""
        await asyncio.gather(*(node.stop() for node in self.nodes))
        await self._epmd.stop()

"""A TCP proxy that makes a server far away: every piece takes half a round trip. Tells how many round trips there were.

    delaying_proxy.py PORT TARGET_PORT ROUND_TRIP_MS

A round trip is counted when the server's answer leaves after something new had come from the client.
"""

import asyncio
import sys


class Count:
    """Round trips of all connections together."""

    round_trips = 0


class Client(asyncio.Protocol):
    """The client's side of one connection."""

    def __init__(self, target: int, one_way_s: float) -> None:
        self._target = target
        self._one_way_s = one_way_s
        self._early = bytearray()
        self.has_spoken = True  # to connect is to ask
        self.server: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._loop = asyncio.get_running_loop()
        self._opening = self._loop.create_task(self._open())

    async def _open(self) -> None:
        await asyncio.sleep(self._one_way_s)
        await self._loop.create_connection(lambda: Server(self, self._one_way_s), "127.0.0.1", self._target)
        if self._early and self.server is not None:
            self.server.write(bytes(self._early))

    def data_received(self, data: bytes) -> None:
        self.has_spoken = True
        self._loop.call_later(self._one_way_s, self._pass_on, data)

    def _pass_on(self, data: bytes) -> None:
        if self.server is None:
            self._early += data
        else:
            self.server.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        if self.server is not None:
            self.server.close()


class Server(asyncio.Protocol):
    """The server's side."""

    def __init__(self, client: Client, one_way_s: float) -> None:
        self._client = client
        self._one_way_s = one_way_s

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._client.server = transport
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        if self._client.has_spoken:
            self._client.has_spoken = False
            Count.round_trips += 1
            print(Count.round_trips, flush=True)
        self._loop.call_later(self._one_way_s, self._client.transport.write, data)

    def connection_lost(self, _: Exception | None) -> None:
        self._loop.call_later(self._one_way_s, self._client.transport.close)


async def main(port: int, target: int, round_trip_s: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Client(target, round_trip_s / 2), "127.0.0.1", port, backlog=1_024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1_000))

"""A door in front of a server: open, everything passes; shut, nobody listens and every connection is cut."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self


class Gate:
    """Forwards a loopback port to another while it is open."""

    def __init__(self, server_port: int, port: int) -> None:
        self._server_port = server_port
        self._port = port
        self._server: asyncio.Server | None = None
        self._visits: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Let visitors in."""
        self._server = await asyncio.start_server(self._visit, "127.0.0.1", self._port)

    async def shut(self) -> None:
        """Cut who is in, and let nobody in."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for visit in self._visits:
            visit.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.shut()

    def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visit = asyncio.create_task(self._guide(reader, writer))
        self._visits.add(visit)
        visit.add_done_callback(self._visits.discard)

    async def _guide(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        out_reader, out_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        ways = [asyncio.create_task(_carry(reader, out_writer)), asyncio.create_task(_carry(out_reader, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (writer, out_writer):
                end.close()
                with suppress(OSError):
                    await end.wait_closed()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()

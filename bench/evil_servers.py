"""Servers of a customer who means no good, or has bad luck: they stall, drip and keep silent. All on loopback."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

FILE = b"%PDF-1.4 a small file\n"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Deals with a connection."""

_EHLO = b"250-stalling\r\n250 AUTH PLAIN\r\n"


class StallingSmtp:
    """Takes letters until it `stalls`; from then on no MAIL is answered, until it no longer does."""

    def __init__(self) -> None:
        self.stalls = False
        self.port = 0
        self._moved_on = asyncio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator["StallingSmtp"]:
        async with _serving(self._serve) as self.port:
            yield self

    def release(self) -> None:
        """Answer again."""
        self.stalls = False
        self._moved_on.set()
        self._moved_on = asyncio.Event()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 stalling ESMTP\r\n")
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"MAIL" and self.stalls:
                await self._moved_on.wait()
            if verb == b"DATA":
                writer.write(b"354 go ahead\r\n")
                await reader.readuntil(b"\r\n.\r\n")
            writer.write({b"EHLO": _EHLO, b"AUTH": b"235 ok\r\n", b"QUIT": b"221 bye\r\n"}.get(verb, b"250 ok\r\n"))
            await writer.drain()


@asynccontextmanager
async def file_server() -> AsyncIterator[int]:
    """Gives a small file for every path, at its own port; below `/drip`, a byte a second of it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            while (await reader.readline()).strip():
                pass
            drips = b" /drip" in line
            size = 1_000 if drips else len(FILE)
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\nContent-Length: {size}\r\n\r\n"
            writer.write(head.encode() + (b"" if drips else FILE))
            for _ in range(size if drips else 0):
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(1)

    async with _serving(serve) as port:
        yield port


@asynccontextmanager
async def _serving(serve: Serve) -> AsyncIterator[int]:
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the worker has left, or the scenario is over
        finally:
            connections.discard(task)
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=1_000)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


class NameServer(asyncio.DatagramProtocol):
    """Knows the addresses of a few names; below `silent.test` it says nothing, and all else does not exist."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = addresses
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        [question] = query.question
        name = question.name.to_text(omit_final_dot=True).lower()
        if ".silent.test" in name:
            return
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        if name not in self._addresses:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif question.rdtype == dns.rdatatype.A:
            answer.answer.append(dns.rrset.from_text(question.name, 1, "IN", "A", self._addresses[name]))
        assert self._transport is not None
        self._transport.sendto(answer.to_wire(), addr)

    @asynccontextmanager
    async def open(self, host: str, port: int) -> AsyncIterator[int]:
        """Answer there; gives the port."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(host, port))
        try:
            yield int(transport.get_extra_info("sockname")[1])
        finally:
            transport.close()

"""A TCP proxy that injects network faults: it cuts, resets, half-closes and stalls connections.

With several targets, each new connection goes to the next one that accepts it, as with a Kubernetes service.
"""

import asyncio
import itertools
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

_CHUNK_BYTES = 65_536
_CONNECT_TIMEOUT_S = 2.0


class FaultKind(StrEnum):
    """Kinds of faults: close in both directions, reset, close in one direction, silence."""

    CUT = "cut"
    RESET = "reset"
    HALF_CLOSE = "half_close"
    STALL = "stall"


@dataclass(frozen=True)
class Fault:
    """One fault on one connection, after a number of bytes in one direction; a stall ends after `seconds`."""

    kind: FaultKind
    is_upstream: bool
    after_bytes: int
    seconds: float = 0.0


class _Over(Exception):
    """Ends a connection."""


class FaultProxy:
    """The proxy; an async context manager. `draw` picks a new connection's fault, `happened` receives injected ones."""

    def __init__(
        self,
        *targets: int,
        draw: Callable[[], Fault | None] = lambda: None,
        happened: Callable[[Fault], None] = lambda _: None,
    ) -> None:
        self.port = 0
        self._targets = itertools.cycle(targets)
        self._target_count = len(targets)
        self._draw = draw
        self._happened = happened
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def reset_all(self) -> int:
        """Reset every open connection; returns how many there were."""
        writers = list(self._connections.values())
        for pair in writers:
            _reset(pair)
        return len(writers)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = (writer,)
        try:
            server_reader, server_writer = await self._connected()
            self._connections[task] = (writer, server_writer)
            fault = self._draw()
            await self._pump_both(_Way(reader, server_writer, True), _Way(server_reader, writer, False), fault)
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # a connection may end in any way, and closing the proxy cancels the rest
        finally:
            for each in self._connections.pop(task):
                each.transport.abort()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for target in itertools.islice(self._targets, self._target_count):
            with suppress(OSError):
                async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                    return await asyncio.open_connection("127.0.0.1", target)
        raise ConnectionRefusedError

    async def _pump_both(self, up: "_Way", down: "_Way", fault: Fault | None) -> None:
        pumps = [
            asyncio.create_task(self._pump(way, fault if fault and fault.is_upstream == way.is_upstream else None))
            for way in (up, down)
        ]
        try:
            with suppress(_Over):
                await asyncio.gather(*pumps)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, way: "_Way", fault: Fault | None) -> None:
        left = fault.after_bytes if fault else 0
        while chunk := await way.reader.read(_CHUNK_BYTES):
            if fault is not None and len(chunk) >= left:
                await way.write(chunk[:left])
                self._happened(fault)
                await self._do(fault, way)
                chunk, fault = chunk[left:], None
            left -= len(chunk)
            await way.write(chunk)
        way.end()

    async def _do(self, fault: Fault, way: "_Way") -> None:
        match fault.kind:
            case FaultKind.STALL:
                await asyncio.sleep(fault.seconds)
            case FaultKind.HALF_CLOSE:
                way.end()
            case FaultKind.RESET:
                _reset((way.writer,))
                raise _Over
            case FaultKind.CUT:
                raise _Over


@dataclass
class _Way:
    """One direction of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    is_upstream: bool
    has_ended: bool = False

    async def write(self, chunk: bytes) -> None:
        if chunk and not self.has_ended:
            self.writer.write(chunk)
            await self.writer.drain()

    def end(self) -> None:
        """Half-close this direction."""
        if not self.has_ended and self.writer.can_write_eof():
            self.has_ended = True
            self.writer.write_eof()


def _reset(writers: Sequence[asyncio.StreamWriter]) -> None:
    for writer in writers:
        sock = writer.get_extra_info("socket")
        with suppress(OSError, AttributeError):  # already closed: there is no socket, or a dead one
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

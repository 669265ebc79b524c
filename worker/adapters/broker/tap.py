"""A tap on a connection: frames that every letter needs are taken before the library reads them.

Everything else goes on to the library: opening and closing of the connection and its channels, questions and answers,
heartbeats. What is written here stands between the library's frames, never within one.
"""

import asyncio
from typing import Any, Protocol

from aio_pika import Connection
from aiormq import AMQPConnectionError
from aiormq.connection import TransportFactory
from yarl import URL

from worker.adapters.broker.frames import A_HEARTBEAT, AROUND, END, HEAD
from worker.adapters.network.tls import TLS_ALERT, TlsExpected

_READ_LIMIT_BYTES = 64 * 1024
_SIGN_OF_LIFE_S = 1.0


class Listener(Protocol):
    """Takes frames of one channel."""

    def take(self, kind: int, payload: bytes) -> bool:
        """Deal with a frame; False leaves it to the library."""


class Tap(TransportFactory):
    """The way in and out of one connection. Listeners are added for channels that are open."""

    def __init__(self) -> None:
        self.listeners: dict[int, Listener] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._outgoing: list[bytes] = []

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open the connection, as the library asks for it."""
        contexts = kwargs.pop("ssl_context_provider")
        context = await contexts.get_context() if url.scheme == "amqps" else None
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_READ_LIMIT_BYTES, loop=loop)
        protocol = TappedProtocol(reader, self.listeners, loop)
        try:
            transport, _ = await loop.create_connection(
                lambda: protocol, host=url.host or "", port=url.port or 0, ssl=context, **kwargs
            )
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        self._writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        return reader, self._writer

    def write(self, *frames: bytes) -> None:
        """Write whole frames, with all that are written in this turn of the event loop: each write is a system call.

        To a connection that is lost nothing is written; whoever waits for an answer learns that otherwise.
        """
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing += frames

    async def drain(self) -> None:
        """Write at once, and wait until the network has taken it. Raises `ConnectionError` when that is lost."""
        self._flush()
        if self._writer is not None:
            await self._writer.drain()

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if outgoing and self._writer is not None and not self._writer.is_closing():
            self._writer.write(b"".join(outgoing))


class TappedProtocol(asyncio.StreamReaderProtocol):
    """Finds the frames in what arrives."""

    def __init__(
        self, reader: asyncio.StreamReader, listeners: dict[int, Listener], loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(reader, loop=loop)
        self._listeners = listeners
        self._monotonic = loop.time
        self._passed_at_s = loop.time()
        self._rest = b""
        self._reader = reader
        self._is_first = True

    def data_received(self, data: bytes) -> None:
        if self._is_first:
            self._is_first = False
            if data.startswith(TLS_ALERT):  # read as a frame it would be the beginning of a very long one
                self._reader.set_exception(TlsExpected())
                return
        if self._rest:
            data = self._rest + data
        at, passed_from, size = 0, 0, len(data)
        while at + AROUND <= size:
            kind, channel, payload_size = HEAD.unpack_from(data, at)
            end = at + AROUND + payload_size
            if end > size:
                break
            listener = self._listeners.get(channel)
            is_whole = listener is not None and data[end - 1] == END
            if listener is not None and is_whole and listener.take(kind, data[at + HEAD.size : end - 1]):
                self._pass(data[passed_from:at])
                passed_from = end
            at = end
        self._pass(data[passed_from:at])
        self._rest = data[at:]
        if passed_from:
            self._show_life()

    def eof_received(self) -> bool | None:
        self._pass(self._rest)  # what ends within a frame, or was none, is the library's to judge
        self._rest = b""
        return super().eof_received()

    def _pass(self, data: bytes) -> None:
        if data:
            self._passed_at_s = self._monotonic()
            super().data_received(data)

    def _show_life(self) -> None:
        """The library takes a peer for dead of whom it hears nothing; the broker sends no heartbeats while it sends."""
        if self._monotonic() - self._passed_at_s > _SIGN_OF_LIFE_S:
            self._pass(A_HEARTBEAT)


class TappedConnection(Connection):
    """aio-pika's connection with a tap on it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tap = Tap()
        self.kwargs["transport_factory"] = self.tap  # to the library below, which makes one connection of it

    async def connect(self, timeout: float | int | None = None) -> None:
        try:
            await super().connect(timeout)
        except (
            BaseException
        ):  # also cancellation; one that never was up would be closed when it is collected, somewhere
            await self.close()
            raise

"""A server in memory that says what its script has, one burst for each turn, whatever the client sends.

A script is bytes: bursts with RECORD_SEPARATOR between them. The first is said to whoever connects, each further one
when the client has written a line; an empty one lets a turn pass. END_OF_TRANSMISSION in a burst closes the connection
there. After the last burst the server is silent. TAG stands for the tag of the client's last IMAP command.
"""

import asyncio
import re
from collections import deque
from typing import Any

RECORD_SEPARATOR = b"\x1e"
END_OF_TRANSMISSION = b"\x04"
TAG = b"~"

_TAG = re.compile(rb"[A-Z]{1,8}[0-9]{1,8}(?= )")


class MemoryTransport(asyncio.Transport):
    """The client's end of a connection; `written` is all that the client sent."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol, server: "ScriptedServer", ssl_context: object
    ) -> None:
        super().__init__()
        self.ssl_context = ssl_context
        self.written = bytearray()
        self._loop = loop
        self._protocol = protocol
        self._server = server
        self._is_closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.ssl_context if name == "sslcontext" and self.ssl_context is not None else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_closing:
            return
        self.written += data
        self._server.hear(self, bytes(data))

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._drop(None)

    def abort(self) -> None:
        self._drop(None)

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        """Nothing: what a server may say before it is heard is bounded by its script."""

    def resume_reading(self) -> None:
        """Nothing, see `pause_reading`."""

    def deliver(self, data: bytes) -> None:
        """Data from the server, as the event loop would bring it."""
        if data and not self._is_closing:
            self._protocol.data_received(data)

    def hang_up(self) -> None:
        """The server closes."""
        if not self._is_closing:
            self._protocol.eof_received()
            self._drop(None)

    def _drop(self, error: Exception | None) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._server.disconnect(self)
            self._loop.call_soon(self._protocol.connection_lost, error)


class ScriptedServer:
    """See the module. One script for all connections, one after the other."""

    def __init__(self, script: bytes) -> None:
        self._bursts = deque(script.split(RECORD_SEPARATOR))
        self._tag = TAG
        self.open_connections: list[MemoryTransport] = []
        self.connections: list[MemoryTransport] = []

    def connect(self, transport: MemoryTransport) -> None:
        """A client came; it is greeted."""
        self.open_connections.append(transport)
        self.connections.append(transport)
        self.speak(transport)

    def disconnect(self, transport: MemoryTransport) -> None:
        """A client went."""
        self.open_connections.remove(transport)

    def hear(self, transport: MemoryTransport, data: bytes) -> None:
        """The client wrote; after a whole line it is the server's turn."""
        tag = _TAG.match(data)
        if tag is not None:
            self._tag = tag[0]
        if data.endswith(b"\n"):
            self.speak(transport)

    def speak(self, transport: MemoryTransport) -> None:
        """Say the next burst as soon as the client listens."""
        if self._bursts:
            asyncio.get_running_loop().call_soon(self._say, transport, self._bursts.popleft())

    def _say(self, transport: MemoryTransport, burst: bytes) -> None:
        said, end, _ = burst.replace(TAG, self._tag).partition(END_OF_TRANSMISSION)
        transport.deliver(said)
        if end:
            transport.hang_up()

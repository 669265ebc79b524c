"""An event loop whose time passes in no time, and whose connections lead to a server that reads from a script.

When nothing is ready, time leaps to the next timer: a timeout of ten minutes costs nothing, and runs are the same
every time. When there is no timer either, nothing would ever happen again: that is a hang, and an error.
"""

import asyncio
import selectors
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from fuzz.scripted_server import MemoryTransport, ScriptedServer


class Hang(AssertionError):
    """Something waits for what will never come."""


class _LeapingSelector(selectors.SelectSelector):
    """Never waits: what it would have waited is added to `passed_s`."""

    def __init__(self) -> None:
        super().__init__()
        self.passed_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise Hang("nothing will ever happen again")
            self.passed_s += max(timeout, 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module. `server` is whoever answers the next connection."""

    def __init__(self) -> None:
        self._leaping = _LeapingSelector()
        super().__init__(self._leaping)
        self.server = ScriptedServer(b"")
        self._failures: list[BaseException] = []
        self.set_exception_handler(self._failed)

    def time(self) -> float:
        """The virtual time, in seconds."""
        return self._leaping.passed_s

    async def create_connection(  # type: ignore[override]  # the adapters give keywords only, and fewer of them
        self,
        protocol_factory: Callable[[], asyncio.Protocol],
        *,
        sock: socket.socket,
        ssl: object = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
    ) -> tuple[MemoryTransport, asyncio.Protocol]:
        """A connection to the scripted server; with `ssl` it passes for an encrypted one."""
        del server_hostname, ssl_handshake_timeout
        sock.close()
        protocol = protocol_factory()
        transport = MemoryTransport(self, protocol, self.server, ssl)
        self.server.connect(transport)
        protocol.connection_made(transport)
        return transport, protocol

    async def start_tls(  # type: ignore[override]  # as above
        self, transport: MemoryTransport, protocol: asyncio.Protocol, sslcontext: object, **_: object
    ) -> MemoryTransport:
        """The same connection, which passes for an encrypted one from now on."""
        del protocol
        transport.ssl_context = sslcontext
        self.server.speak(transport)
        return transport

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        """Run to the end; nothing may be left over: no task, no connection, no error that nobody saw."""
        self.run_until_complete(main)
        self.run_until_complete(asyncio.sleep(0))
        left = asyncio.all_tasks(self)
        assert not left, f"tasks are left over: {left}"
        assert not self.server.open_connections, "connections are left open"
        if self._failures:
            failure, self._failures = self._failures[0], []
            raise failure

    def _failed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._failures.append(context.get("exception") or AssertionError(context["message"]))

"""A mail server that only takes letters: as light as can be, so that it is the worker that is measured."""

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

_BANNER = b"220 sink ESMTP\r\n"
_EHLO = b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 AUTH PLAIN\r\n"
_OK = b"250 2.0.0 ok\r\n"
_SUBJECT = b"\r\nSubject: "

Took = Callable[[str, float], None]
"""Called with a letter's subject and the moment (`time.monotonic`) at which it was accepted."""


class Sink:
    """Accepts every letter; from senders in `slow`, only after so many seconds. `silent_port` never says a word."""

    def __init__(self, took: Took, slow: dict[str, float]) -> None:
        self._took = took
        self._slow = slow
        self._servers: list[asyncio.Server] = []
        self.port = self.silent_port = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for protocol in (lambda: _Session(self._took, self._slow), asyncio.Protocol):
            self._servers.append(await loop.create_server(protocol, "127.0.0.1", 0, backlog=1_000))
        self.port, self.silent_port = (server.sockets[0].getsockname()[1] for server in self._servers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.close()


class _Session(asyncio.Protocol):
    def __init__(self, took: Took, slow: dict[str, float]) -> None:
        self._took = took
        self._slow = slow
        self._wait_s = 0.0
        self._received = b""
        self._is_content = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(_BANNER)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while True:
            end = b"\r\n.\r\n" if self._is_content else b"\r\n"
            unit, found, rest = self._received.partition(end)
            if not found:
                return
            self._received = rest
            if self._is_content:
                self._take(unit)
            else:
                self._answer(unit)

    def _answer(self, line: bytes) -> None:
        verb = line[:4].upper()
        if verb == b"MAIL":
            sender = line.partition(b"<")[2].partition(b">")[0].decode()
            self._wait_s = self._slow.get(sender, 0.0)
        if verb == b"DATA":
            self._is_content = True
        self._say({b"EHLO": _EHLO, b"AUTH": b"235 2.7.0 ok\r\n", b"DATA": b"354 go ahead\r\n"}.get(verb, _OK))
        if verb == b"QUIT" and self._transport is not None:
            self._transport.close()

    def _take(self, letter: bytes) -> None:
        self._is_content = False
        subject = letter.partition(_SUBJECT)[2].partition(b"\r\n")[0].decode()
        asyncio.get_running_loop().call_later(self._wait_s, self._accept, subject)

    def _accept(self, subject: str) -> None:
        self._took(subject, time.monotonic())
        self._say(_OK)

    def _say(self, words: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(words)

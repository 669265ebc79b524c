"""One IMAP connection over aioimaplib: its states, tags and commands, with our own reading and writing around them.

The library's client opens its own connection by name, without saying which address, and its protocol trusts the
server. So its client class is not used, and of its protocol these parts are replaced, each for a reason:

- reading (`data_received` and what it calls) recurses once per line and per literal, has no bound, removes every
  `* ` from inside a response, and lets errors escape whose text holds the command, password and all;
- `connection_lost` leaves the waiting command waiting for ever;
- the answer to a `+` is known for APPEND only, written in one piece whatever its size, and never given to a
  refused XOAUTH2, whose server then waits for it;
- the greeting is awaited in a task of its own that fails where nobody sees it;
- `send` logs what it sends.

What remains is one command at a time. After any error, timeout or cancellation the connection must be discarded.
"""

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

from aioimaplib import aioimaplib

from worker.adapters.imap.framing import ResponseFramer, ResponseTooLarge
from worker.adapters.imap.troubles import ServerWords
from worker.adapters.imap.wire import Buffers, Dialogue

# The library logs every line it sends and receives, passwords and letters too. A filter refuses all of its records
# and survives whatever levels and handlers logging is configured with later.
logging.getLogger(aioimaplib.__name__).addFilter(lambda _record: False)

_CHUNK_BYTES = 64 * 1024
_RESULTS = (b"OK", b"NO", b"BAD")
# Where a command takes the connection; the library's own EXAMINE leaves it unselected, and then refuses to search.
_STATES = {
    ("LOGIN", "OK"): aioimaplib.AUTH,
    ("AUTHENTICATE", "OK"): aioimaplib.AUTH,
    ("EXAMINE", "OK"): aioimaplib.SELECTED,
    ("EXAMINE", "NO"): aioimaplib.AUTH,
    ("SELECT", "OK"): aioimaplib.SELECTED,
    ("SELECT", "NO"): aioimaplib.AUTH,
}


class LostConnection(Exception):
    """The connection is gone, or has to go; `is_violation` when the server does not speak IMAP."""

    def __init__(self, why: str, *, is_violation: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.is_violation = is_violation


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer to a command: `result` (OK, NO, BAD), the text behind it, what came before, and challenges."""

    result: str
    text: bytes
    untagged: tuple[bytes, ...]
    challenges: tuple[bytes, ...]

    @property
    def is_ok(self) -> bool:
        """True when the command succeeded."""
        return self.result == "OK"


class _Command(aioimaplib.Command):  # type: ignore[misc]  # the library has no types
    """A command that can fail from outside, and that shows no arguments where it is printed as an object."""

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def __str__(self) -> str:
        return f"{self.tag} {self.prefix or ''}{' '.join((self.name, *self.args))}"

    def fail(self, error: LostConnection) -> None:
        """Wake whoever waits for the answer with an error."""
        self._exception = error
        self._event.set()


class ImapProtocol(aioimaplib.IMAP4ClientProtocol):  # type: ignore[misc]  # the library has no types
    """A connection's protocol; `max_response_bytes` bounds what a server may say between two commands.

    `words` is how that becomes text: there is no other way, so that no secret is shown which the server repeats.
    """

    transport: asyncio.Transport
    state: str

    def __init__(self, max_response_bytes: int, words: ServerWords) -> None:
        super().__init__(asyncio.get_running_loop())
        self.words = words
        self._framer = ResponseFramer(max_response_bytes)
        self._greeting: bytes | None = None
        self._answers: deque[Buffers] = deque()
        self._must_be_asked = False
        self._outgoing: deque[memoryview] = deque()
        self._challenges: list[bytes] = []
        self._is_write_paused = False
        self._bye: bytes | None = None
        self._broken: LostConnection | None = None
        self._happened = asyncio.Event()

    @property
    def is_usable(self) -> bool:
        """True while nothing has gone wrong and nothing is half sent."""
        return self._broken is None and self._bye is None and not self._outgoing and self._pending() is None

    @property
    def bye(self) -> bytes | None:
        """The server's own words when it said that it closes the connection."""
        return self._bye

    async def greeting(self) -> bytes:
        """The server's first response. Raises `LostConnection`."""
        await self._happened.wait()
        if self._greeting is None:
            raise self._broken or LostConnection("the connection was closed")
        return self._greeting

    async def converse(self, name: str, sent: Dialogue, *, by_uid: bool = False) -> Answer:
        """Send a command and answer the server's questions until it ends. Raises `LostConnection`."""
        if self._broken is not None:
            raise self._broken
        if self._outgoing:  # refused in the middle of a literal: whatever follows would be taken for its rest
            raise LostConnection("the server refused a literal half-way")
        self._framer.allow()
        self._answers = deque(sent.answers)
        self._must_be_asked = sent.must_be_asked
        self._challenges = []
        arguments = (sent.opening,) if sent.opening else ()
        command = _Command(name, self.new_tag(), *arguments, prefix="UID" if by_uid else None, loop=self.loop)
        response = await self.execute(command)
        self._answers.clear()
        self.state = _STATES.get((name, response.result), self.state)
        *untagged, text = response.lines
        return Answer(response.result, bytes(text), tuple(untagged), tuple(self._challenges))

    def abort(self) -> None:
        """Close at once; whoever waits for an answer gets `LostConnection`."""
        self._break(LostConnection("the connection was given up"))

    def send(self, line: str, scrub: str | None = None) -> None:  # noqa: ARG002 - the library's own signature
        """Write one line."""
        self.transport.write(line.encode("ascii") + b"\r\n")

    def data_received(self, data: bytes) -> None:
        """Called by the event loop with whatever arrived."""
        try:
            for response in self._framer.feed(data):
                if self._broken is not None:
                    return
                self._respond(response)
        except ResponseTooLarge:
            self._violated("the server says more than is allowed to it")

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop when the connection is closed, by either side."""
        super().connection_lost(exc)
        self._break(LostConnection(f"the connection was lost: {exc}" if exc else "the server closed the connection"))

    def pause_writing(self) -> None:
        """Called by the event loop when its buffer is full."""
        self._is_write_paused = True

    def resume_writing(self) -> None:
        """Called by the event loop when its buffer has room again."""
        self._is_write_paused = False
        self._pump()

    def _respond(self, response: bytes) -> None:
        if self.state == aioimaplib.CONNECTED:
            self.state = aioimaplib.NONAUTH
            self._greeting = response
            self._happened.set()
        elif response.startswith(b"+"):
            self._continue(response[1:].strip())
        elif response.startswith(b"* "):
            self._take_untagged(response[2:])
        else:
            self._take_tagged(response)

    def _take_untagged(self, response: bytes) -> None:
        if response[:4].upper() in (b"BYE", b"BYE "):
            self._bye = response[4:]
        pending = self._pending()
        if pending is not None:
            pending.append_to_resp(response)

    def _take_tagged(self, response: bytes) -> None:
        tag, _, rest = response.partition(b" ")
        result, _, text = rest.partition(b" ")
        pending = self._pending()
        if pending is None or tag != pending.tag.encode("ascii") or result.upper() not in _RESULTS:
            self._violated("the server's answer belongs to no command")
            return
        is_unsent = bool(self._outgoing) or (self._must_be_asked and bool(self._answers))
        if result.upper() == b"OK" and is_unsent:
            self._violated("the server says that it is done before it had everything")
            return
        self._response_done(b" ".join((tag, result.upper(), text)))

    def _continue(self, challenge: bytes) -> None:
        if self._pending() is None or not self._answers or self._outgoing:
            self._violated("the server asks to go on where there is nothing to go on with")
            return
        self._challenges.append(challenge)
        self._outgoing.extend(memoryview(content) for content in self._answers.popleft())
        self._pump()

    def _pump(self) -> None:
        """Write what is outgoing, as far as the event loop's buffer has room: a large letter goes out in steps."""
        while self._outgoing and not self._is_write_paused:
            content = self._outgoing.popleft()
            if len(content) > _CHUNK_BYTES:
                self._outgoing.appendleft(content[_CHUNK_BYTES:])
            self.transport.write(content[:_CHUNK_BYTES])

    def _pending(self) -> _Command | None:
        commands = (self.pending_sync_command, *self.pending_async_commands.values())
        return next((command for command in commands if command is not None), None)

    def _violated(self, why: str) -> None:
        self._break(LostConnection(why, is_violation=True))

    def _break(self, error: LostConnection) -> None:
        if self._broken is not None:
            return
        self._broken = error
        self._outgoing.clear()
        self._happened.set()
        pending = self._pending()
        if pending is not None:
            pending.fail(error)
        if self.transport is not None:
            self.transport.abort()

"""One IMAP connection over aioimaplib: its states, tags and commands, with our own reading and writing around them.

The library's client opens its own connection by name, without saying which address, and its protocol trusts the
server. So its client class is not used, and of its protocol these parts are replaced, each for a reason:

- reading (`data_received` and what it calls) recurses once per line and per literal, has no bound, removes every
  `* ` from inside a response, and lets errors escape whose text holds the command, password and all;
- `connection_lost` leaves the waiting command waiting for ever;
- the answer to a `+` is known for APPEND only, written in one piece whatever its size, and never given to a
  refused XOAUTH2, whose server then waits for it;
- the greeting is awaited in a task of its own that fails where nobody sees it;
- `send` logs what it sends;
- `execute` waits for each command's answer before it sends the next one.

What remains is one conversation at a time: a command, or several that are sent at once and answered in turn (RFC 3501
section 5.5). After any error, timeout or cancellation the connection must be discarded.
"""

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

from aioimaplib import aioimaplib

from worker.adapters.imap.framing import ResponseFramer, ResponseTooLarge
from worker.adapters.imap.troubles import ServerWords
from worker.adapters.imap.wire import COPIED_BYTES, Buffers, Dialogue, together

# The library logs every line it sends and receives, passwords and letters too. A filter refuses all of its records
# and survives whatever levels and handlers logging is configured with later.
logging.getLogger(aioimaplib.__name__).addFilter(lambda _record: False)

_RESULTS = (b"OK", b"NO", b"BAD")
# Where a command takes the connection; the library's own EXAMINE leaves it unselected, and then refuses to search.
_STATES = {
    ("LOGIN", b"OK"): aioimaplib.AUTH,
    ("AUTHENTICATE", b"OK"): aioimaplib.AUTH,
    ("EXAMINE", b"OK"): aioimaplib.SELECTED,
    ("EXAMINE", b"NO"): aioimaplib.AUTH,
    ("SELECT", b"OK"): aioimaplib.SELECTED,
    ("SELECT", b"NO"): aioimaplib.AUTH,
    ("CLOSE", b"OK"): aioimaplib.AUTH,
    ("UNSELECT", b"OK"): aioimaplib.AUTH,
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


@dataclass(frozen=True, slots=True)
class Request:
    """A command to send; `by_uid`: in its form that counts by UIDs."""

    name: str
    sent: Dialogue
    by_uid: bool = False


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
        self._commands: deque[_Command] = deque()  # not ended yet, in the order in which the server answers
        self._challenges: list[bytes] = []
        self._is_write_paused = False
        self._bye: bytes | None = None
        self._broken: LostConnection | None = None
        self._happened = asyncio.Event()

    @property
    def is_usable(self) -> bool:
        """True while nothing has gone wrong and nothing is half sent."""
        return self._broken is None and self._bye is None and not self._outgoing and not self._commands

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

    async def converse(self, *requests: Request) -> list[Answer]:
        """Send one command, or several at once, and answer the server's questions to the last one until it ends.

        Raises `LostConnection`.
        """
        if self._broken is not None:
            raise self._broken
        if self._outgoing:  # refused in the middle of a literal: whatever follows would be taken for its rest
            raise LostConnection("the server refused a literal half-way")
        last = requests[-1].sent
        self._framer.allow()
        self._answers = deque(last.answers)
        self._must_be_asked = last.must_be_asked
        self._challenges = []
        commands = [self._command(request) for request in requests]
        self._commands.extend(commands)
        self.transport.write(b"".join(str(command).encode("ascii") + b"\r\n" for command in commands))
        await commands[-1].wait()
        self._answers.clear()
        return [self._answer_to(command) for command in commands]

    def _command(self, request: Request) -> _Command:
        arguments = (request.sent.opening,) if request.sent.opening else ()
        prefix = "UID" if request.by_uid else None
        return _Command(request.name, self.new_tag(), *arguments, prefix=prefix, loop=self.loop)

    def _answer_to(self, command: _Command) -> Answer:
        result, (*untagged, text) = command.response
        return Answer(result, bytes(text), tuple(untagged), tuple(self._challenges))

    def abort(self) -> None:
        """Close at once; whoever waits for an answer gets `LostConnection`."""
        self._break(LostConnection("the connection was given up"))

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
        if self._commands:
            self._commands[0].append_to_resp(response)

    def _take_tagged(self, response: bytes) -> None:
        tag, _, rest = response.partition(b" ")
        result, _, text = rest.partition(b" ")
        result = result.upper()
        command = self._commands[0] if self._commands else None
        if command is None or tag != command.tag.encode("ascii") or result not in _RESULTS:
            self._violated("the server's answer belongs to no command")
            return
        is_last = len(self._commands) == 1  # the answers are the last command's
        is_unsent = is_last and (bool(self._outgoing) or (self._must_be_asked and bool(self._answers)))
        if result == b"OK" and is_unsent:
            self._violated("the server says that it is done before it had everything")
            return
        self._commands.popleft()
        command.close(text, result.decode("ascii"))
        self.state = _STATES.get((command.name, result), self.state)

    def _continue(self, challenge: bytes) -> None:
        if len(self._commands) != 1 or not self._answers or self._outgoing:
            self._violated("the server asks to go on where there is nothing to go on with")
            return
        self._challenges.append(challenge)
        self._outgoing.extend(map(memoryview, together(self._answers.popleft())))
        self._pump()

    def _pump(self) -> None:
        """Write what is outgoing, as far as the event loop's buffer has room: a large letter goes out in steps."""
        while self._outgoing and not self._is_write_paused:
            content = self._outgoing.popleft()
            if len(content) > COPIED_BYTES:
                self._outgoing.appendleft(content[COPIED_BYTES:])
            self.transport.write(content[:COPIED_BYTES])

    def _violated(self, why: str) -> None:
        self._break(LostConnection(why, is_violation=True))

    def _break(self, error: LostConnection) -> None:
        if self._broken is not None:
            return
        self._broken = error
        self._outgoing.clear()
        self._happened.set()
        for command in self._commands:
            command.fail(error)
        if self.transport is not None:
            self.transport.abort()

"""One IMAP connection: aioimaplib keeps its state and tags and executes its commands; bytes in and out are ours.

Commands go through the library's `execute`, which refuses a command illegal in the connection's state, sends it and
waits for its end. The library's client class connects by name, without control over the address, and its protocol
trusts the server. So this module does not use the client, and overrides these methods of the protocol:

- `data_received`: the library's recurses once per line and per literal, is unbounded, and raises errors whose text
  holds the command, password included;
- `_untagged_response`: it removes every `* ` inside a response, and drops responses without the command's name, such
  as the QUOTA that answers GETQUOTAROOT;
- `_continuation`: it answers a `+` for APPEND only, writes the answer in one piece whatever its size, and never answers
  a refused XOAUTH2, whose server then waits;
- `connection_lost`: it leaves the pending command waiting for ever.

Its `welcome` is not used either: it runs in a task whose failure goes unnoticed, and takes PREAUTH for a sign-in.

One command runs at a time, or several sent at once and answered in turn (RFC 3501 section 5.5). After any
error, timeout or cancellation, discard the connection.
"""

import asyncio
import logging
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aioimaplib import aioimaplib

from worker.adapters.imap.encoding import COPIED_BYTES, Buffers, Dialogue, together
from worker.adapters.imap.errors import ServerWords

# The library logs every line it sends and receives, including passwords and letters. A filter drops all of its records,
# and survives later changes of log levels and handlers.
logging.getLogger(aioimaplib.__name__).addFilter(lambda _record: False)

# Missing from the library's table of the states in which a command is legal (RFC 3691).
aioimaplib.Commands.setdefault("UNSELECT", aioimaplib.Cmd("UNSELECT", (aioimaplib.SELECTED,), aioimaplib.Exec.is_sync))

_RESULTS = (b"OK", b"NO", b"BAD")
# The state after each command; the library's own EXAMINE leaves the connection unselected, and then refuses SEARCH.
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

_LITERAL_AT_END = re.compile(rb"\{(\d{1,20})\+?\}\Z")
_LONGEST_LITERAL_MARK = 24
# The server controls how much it sends, and each response costs time to parse. No legitimate answer here is longer:
# folders are listed one level at a time, and letters searched by Message-ID.
MAX_RESPONSES = 5_000
MAX_LINE_BYTES = 64 * 1024  # literals do not count
MAX_LITERALS = 16  # in one response
# These end in free text (resp-text), so a `{5}` at their end announces no literal.
_STATUS = re.compile(rb"\+|\S{1,64} (?:OK|NO|BAD|BYE|PREAUTH)\b", re.IGNORECASE)


class LostConnection(Exception):
    """The connection is lost, or must be dropped; `is_violation` when the server violates IMAP."""

    def __init__(self, why: str, *, is_violation: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.is_violation = is_violation


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer to a command: `result` (OK, NO, BAD), its text, preceding responses, and challenges."""

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
    """A command to send; `by_uid`: in its UID form."""

    name: str
    sent: Dialogue
    by_uid: bool = False


class _PipelinedCommands(aioimaplib.Command):  # type: ignore[misc]  # the library has no types
    """One command, or several sent at once, one to the library: legal where the first is, ends with the last.

    Unlike the library's command, it can be failed from outside, and its repr shows no arguments.

    Raises:
        ValueError: an argument holds NUL, CR or LF.
    """

    def __init__(self, requests: Sequence[Request], tags: Sequence[str], loop: asyncio.AbstractEventLoop) -> None:
        openings = (request.sent.opening for request in requests)
        super().__init__(requests[0].name, tags[-1], *openings, loop=loop)
        self._requests = requests
        self._tags = tags
        self._untagged: list[bytes] = []
        self._answers = deque(requests[-1].sent.answers)  # to continuation requests, which only the last command gets
        self._must_be_asked = requests[-1].sent.must_be_asked
        self._challenges: list[bytes] = []
        self.answered: list[Answer] = []

    def __repr__(self) -> str:
        return f"<{' and '.join(request.name for request in self._requests)}>"

    def __str__(self) -> str:
        return "\r\n".join(map(_line, self._tags, self._requests))

    @property
    def is_at_last(self) -> bool:
        """True when only the last command is still pending."""
        return len(self.answered) == len(self._requests) - 1

    @property
    def is_asked_for_all(self) -> bool:
        """True when the server has requested everything it needs for the last command."""
        return not (self._must_be_asked and self._answers)

    def is_answered_by(self, tag: bytes) -> bool:
        """Whether the tag belongs to the command now being answered; answers follow the order of sending."""
        return tag == self._tags[len(self.answered)].encode("ascii")

    def take(self, untagged: bytes) -> None:
        """Add a response to those of the command being answered."""
        self._untagged.append(untagged)

    def ask(self, challenge: bytes) -> Buffers | None:
        """The data to send for a continuation request; None when there is nothing left to send."""
        if not (self.is_at_last and self._answers):
            return None
        self._challenges.append(challenge)
        return self._answers.popleft()

    def end(self, result: str, text: bytes) -> str:
        """End the command being answered, and return its name; challenges belong to the last one."""
        name = self._requests[len(self.answered)].name
        challenges = tuple(self._challenges) if self.is_at_last else ()
        self.answered.append(Answer(result, text, tuple(self._untagged), challenges))
        self._untagged = []
        return name

    def fail(self, error: LostConnection) -> None:
        """Fail the pending command with an error."""
        self._exception = error
        self._event.set()


def _line(tag: str, request: Request) -> str:
    return " ".join(filter(None, (tag, "UID" if request.by_uid else "", request.name, request.sent.opening)))


class ImapProtocol(aioimaplib.IMAP4ClientProtocol):  # type: ignore[misc]  # the library has no types
    """A connection's protocol; `max_response_bytes` bounds what the server may send between two commands.

    `words` is the only way to turn server bytes into text, so that a secret repeated by the server is always redacted.
    """

    transport: asyncio.Transport
    state: str

    def __init__(self, max_response_bytes: int, words: ServerWords) -> None:
        super().__init__(asyncio.get_running_loop())
        self.words = words
        self._framer = ResponseFramer(max_response_bytes)
        self._greeting: bytes | None = None
        self._outgoing: deque[memoryview] = deque()
        self._pipelined: _PipelinedCommands | None = None  # not ended yet
        self._is_write_paused = False
        self._bye: bytes | None = None
        self._broken: LostConnection | None = None
        self._happened = asyncio.Event()

    @property
    def is_usable(self) -> bool:
        """True while there has been no error and nothing is half sent."""
        return self._broken is None and self._bye is None and not self._outgoing and self._pipelined is None

    @property
    def bye(self) -> bytes | None:
        """The server's text if it announced closing the connection (BYE)."""
        return self._bye

    async def greeting(self) -> bytes:
        """The server's first response. Raises `LostConnection`."""
        await self._happened.wait()
        if self._greeting is None:
            raise self._broken or LostConnection("the connection was closed")
        return self._greeting

    async def converse(self, *requests: Request) -> list[Answer]:
        """Send one command, or several at once, and answer continuation requests for the last one until it ends.

        Raises `LostConnection`.
        """
        if self._broken is not None:
            raise self._broken
        if self._outgoing:  # refused in the middle of a literal: anything further would pass for its rest
            raise LostConnection("the server refused a literal half-way")
        self._framer.allow()
        pipelined = _PipelinedCommands(requests, [self.new_tag() for _ in requests], self.loop)
        self._pipelined = pipelined
        await self.execute(pipelined)
        return pipelined.answered

    def abort(self) -> None:
        """Close immediately; a pending command gets `LostConnection`."""
        self._break(LostConnection("the connection was given up"))

    def data_received(self, data: bytes) -> None:
        """Called by the event loop with the received bytes."""
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
            self._continuation(response)
        elif response.startswith(b"* "):
            self._untagged_response(response)
        else:
            self._take_tagged(response)

    def _untagged_response(self, line: bytes) -> None:
        response = line[2:]
        if response[:4].upper() in (b"BYE", b"BYE "):
            self._bye = response[4:]
        if self._pipelined is not None:
            self._pipelined.take(response)

    def _take_tagged(self, line: bytes) -> None:
        """End a command; after the last one, the library wakes its `execute`."""
        tag, _, rest = line.partition(b" ")
        result, _, text = rest.partition(b" ")
        result = result.upper()
        pipelined = self._pipelined
        if pipelined is None or not pipelined.is_answered_by(tag) or result not in _RESULTS:
            self._violated("the server's answer belongs to no command")
            return
        is_last = pipelined.is_at_last
        if is_last and result == b"OK" and (self._outgoing or not pipelined.is_asked_for_all):
            self._violated("the server says that it is done before it had everything")
            return
        name = pipelined.end(result.decode("ascii"), text)
        self.state = _STATES.get((name, result), self.state)
        if is_last:
            self._pipelined = None
            self._response_done(line)

    def _continuation(self, line: bytes) -> None:
        pipelined = self._pipelined
        answer = pipelined.ask(line[1:].strip()) if pipelined is not None and not self._outgoing else None
        if answer is None:
            self._violated("the server asks to go on where there is nothing to go on with")
            return
        self._outgoing.extend(map(memoryview, together(answer)))
        self._pump()

    def _pump(self) -> None:
        """Write pending output as far as the event loop's buffer has room, so that a large letter goes out in steps."""
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
        if self._pipelined is not None:
            self._pipelined.fail(error)
        if self.transport is not None:
            self.transport.abort()


class ResponseTooLarge(Exception):
    """A server sent more than allowed."""


class ResponseFramer:
    """Splits received bytes into responses: a line including its literals, without the final CRLF.

    Loops over lines: the server controls how many lines arrive at once, so nothing here may recurse.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._allowance = max_bytes
        self._responses_left = MAX_RESPONSES
        self._literals = 0
        self._buffer = bytearray()
        self._line_start = 0  # of the current line, after its preceding literals
        self._searched = 0  # no CRLF before this; without it, a line in many small pieces would cost quadratic time

    def allow(self) -> None:
        """Reset the allowance to `max_bytes` and `MAX_RESPONSES`; called when a command is sent."""
        self._allowance = self._max_bytes
        self._responses_left = MAX_RESPONSES

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take received bytes; yield the responses that are now complete.

        Raises:
            ResponseTooLarge: bytes, responses or the length of a line exceed the limit, or an announced literal
                would.
        """
        self._allowance -= len(data)
        if self._allowance < 0:
            raise ResponseTooLarge
        self._buffer += data
        while (end := self._buffer.find(b"\r\n", max(self._searched, self._line_start))) >= 0:
            self._require_short(end)
            literal = self._literal_at(end)
            self._searched = 0
            if literal is not None:
                self._literals += 1
                self._require(self._literals <= MAX_LITERALS)
                self._line_start = end + 2 + literal
                continue
            response = bytes(self._buffer[:end])
            del self._buffer[: end + 2]
            self._line_start = self._literals = 0
            self._responses_left -= 1
            self._require(self._responses_left >= 0)
            yield response
        self._searched = max(len(self._buffer) - 1, 0)
        self._require_short(len(self._buffer))

    def _require_short(self, end: int) -> None:
        self._require(end - self._line_start <= MAX_LINE_BYTES)

    def _require(self, is_allowed: bool) -> None:
        if not is_allowed:
            raise ResponseTooLarge

    def _literal_at(self, end: int) -> int | None:
        tail = max(self._line_start, end - _LONGEST_LITERAL_MARK)
        match = _LITERAL_AT_END.search(bytes(self._buffer[tail:end]))
        if match is None or _STATUS.match(self._buffer):
            return None
        size = int(match.group(1))
        if size > self._max_bytes:
            raise ResponseTooLarge
        return size

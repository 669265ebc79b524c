"""The only code below aiosmtplib's public interface: pairs replies with commands.

The library's protocol reads exactly one reply per command and keeps any surplus, so that a stray reply passes for the
answer to the next command; it drops replies that arrive before they are requested, so that commands cannot be pipelined
(RFC 2920); and its DATA writes letter and final dot in one piece, which leaves no point just before the dot. The
subclass replaces the reading of replies; commands, their injection guard, the TLS upgrade and flow control stay the
library's.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from aiosmtplib import SMTPReadTimeoutError, SMTPResponse, SMTPResponseException, SMTPServerDisconnected
from aiosmtplib.errors import SMTPException
from aiosmtplib.protocol import COMMAND_INJECTION_REGEX, MAX_LINE_LENGTH, MAX_RESPONSE_LENGTH, SMTPProtocol

from worker.adapters.auth.redaction import Redaction

_REPLY_LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?")  # RFC 5321 section 4.2
MALFORMED = -1
"""The library's code for a malformed reply."""
_REFUSAL = 400
# Per reply; results show 1,000 characters, and no server has so many extensions that EHLO needs more.
MAX_TEXT_CHARS = 4 * 1024
_MAX_STRAY_CHARS = 1_024  # of a malformed reply; 80 are shown
_AT_A_TIME_CHARS = 16 * 1024  # of replies that arrived together, before yielding to other tasks


class PairedProtocol(SMTPProtocol):
    """Pairs replies with commands strictly; an unsolicited reply ends the connection.

    Bytes stay unread in the buffer while no reply is owed, so that the library still discards plain text injected
    before STARTTLS (RFC 3207 section 6).

    All server text passes through here, so redaction happens here. `known` maps the secrets that the server may know
    from earlier connections to their redactions: it may repeat one in its greeting.
    """

    def __init__(
        self, known: Mapping[object, Redaction], on_lost: Callable[[SMTPProtocol], None] | None = None
    ) -> None:
        super().__init__(loop=asyncio.get_running_loop(), connection_lost_callback=on_lost)
        self._owed = 0
        self._lines: list[str] = []
        self._reply_bytes = 0
        self._received: deque[SMTPResponse] = deque()  # not redacted yet: many may arrive at once
        self._chars_in_a_row = 0
        self._reader: asyncio.Future[None] | None = None
        self._ended: SMTPException | None = None
        self._redactions = dict(known)

    def hide(self, secret: object, redaction: Redaction) -> None:
        """Redact a secret from all further replies; call this before sending it."""
        self._redactions[secret] = redaction

    def hides(self, secret: object) -> bool:
        """Whether the secret is already being redacted."""
        return secret in self._redactions

    def _clean(self, text: str, max_chars: int = MAX_TEXT_CHARS) -> str:
        is_cut = len(text) > max_chars
        text = text[:max_chars]
        for redaction in self._redactions.values():
            text = redaction(text, is_cut=is_cut)
        return text

    @property
    def is_at_rest(self) -> bool:
        """True when the connection is open, no reply is owed and none arrived unsolicited."""
        is_silent = not (self._owed or self._buffer or self._received)
        return is_silent and self._ended is None and self.is_connected

    @property
    def is_congested(self) -> bool:
        """True when written data is waiting for the network."""
        return bool(self._paused)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._owed = 1  # the greeting, which may arrive before a caller waits for it

    def data_received(self, data: bytes) -> None:
        if self._ended is not None:
            return
        self._buffer.extend(data)
        if not self._owed and self._paused:
            # A reply in the middle of the upload: the writer must not wait for room that never comes.
            self.resume_writing()
        try:
            self._read_lines()
        except SMTPResponseException as error:
            self._end(error)
            self.abort()

    def eof_received(self) -> bool:
        self._end(SMTPServerDisconnected("the server closed the connection"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(SMTPServerDisconnected("the connection was lost"))
        super().connection_lost(exc)

    def abort(self) -> None:
        """Drop the connection immediately, including unsent bytes."""
        if self.transport is not None:
            cast(asyncio.WriteTransport, self.transport).abort()

    def write(self, data: bytes) -> None:
        """Write, unless the server hung up or replied unsolicited; on an exception nothing was written.

        Raises:
            SMTPServerDisconnected: the connection is lost.
            SMTPResponseException: the unsolicited reply; code -1 when it is not a refusal.
        """
        self.check_silence()
        super().write(data)

    def check_silence(self) -> None:
        """Raise as `write` does, without writing."""
        if not self._owed and self._buffer:
            raise self._out_of_turn()
        if self._ended is not None:
            raise self._ended

    async def drain(self) -> None:
        """Wait until the transport has room for more. Raises as `write` does."""
        try:
            await self._drain_helper()
        except OSError:
            self.check_silence()  # the server's last reply says more than the disconnect
            raise

    def pipeline(self, commands: Sequence[bytes]) -> None:
        """Write several commands at once; the caller must then await `next_reply` once for each."""
        if any(COMMAND_INJECTION_REGEX.search(command) for command in commands):
            raise ValueError("a command has a control character in it")
        self.write(b"".join(command + b"\r\n" for command in commands))
        self._owed += len(commands)

    def end_content(self) -> None:
        """Write the final dot; if this raises, the dot was not written."""
        self.write(b".\r\n")
        self._owed += 1

    async def read_response(self, timeout: float | None = None) -> SMTPResponse:
        """The reply to the command just written; called by the library's commands."""
        self._owed += 1
        return await self.next_reply(timeout)

    async def next_reply(self, timeout_s: float | None) -> SMTPResponse:
        """The next reply owed. Raises as `write` does, and SMTPReadTimeoutError."""
        if not self._received:
            self._chars_in_a_row = 0
            await self._wait(timeout_s)
        elif self._chars_in_a_row >= _AT_A_TIME_CHARS:
            self._chars_in_a_row = 0
            await asyncio.sleep(0)
        if self._received:
            code, text = self._received.popleft()
            self._chars_in_a_row += len(text)
            return SMTPResponse(code, self._clean(text))
        raise self._ended or SMTPServerDisconnected("the connection was lost")

    async def _wait(self, timeout_s: float | None) -> None:
        if self._ended is not None:
            return
        self._reader = reader = self._loop.create_future()
        timer = None if timeout_s is None else self._loop.call_later(timeout_s, _time_is_up, reader)
        try:
            await reader
        finally:
            self._reader = None
            if timer is not None:
                timer.cancel()

    def _read_lines(self) -> None:
        while self._owed and (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._read_line(line.rstrip(b"\r"))
        # Bounds memory: neither endless lines nor endless replies are kept.
        if len(self._buffer) > MAX_LINE_LENGTH or self._reply_bytes > MAX_RESPONSE_LENGTH:
            raise SMTPResponseException(MALFORMED, "the reply is too long")

    def _read_line(self, line: bytes) -> None:
        match = _REPLY_LINE.fullmatch(line)
        if match is None or len(line) > MAX_LINE_LENGTH:
            said = self._clean(line[:MAX_LINE_LENGTH].decode("utf-8", "replace"), _MAX_STRAY_CHARS)
            raise SMTPResponseException(MALFORMED, f"not a reply: {said[:80]}")
        code, mark, text = match.groups()
        self._reply_bytes += len(line)
        if self._reply_bytes > MAX_RESPONSE_LENGTH:
            raise SMTPResponseException(MALFORMED, "the reply is too long")
        self._lines.append((text or b"").decode("utf-8", "replace").strip())
        if mark != b"-":
            self._received.append(SMTPResponse(int(code), "\n".join(self._lines)))
            self._lines, self._reply_bytes = [], 0
            self._owed -= 1
            self._wake()

    def _out_of_turn(self) -> SMTPResponseException:
        """The unsolicited reply: a refusal in the server's own words, else a protocol violation."""
        self._owed = 1
        verdict = SMTPResponseException(MALFORMED, "the server spoke out of turn")
        try:
            self._read_lines()
        except SMTPResponseException as error:
            verdict = error
        if self._received and self._received[0].code >= _REFUSAL:
            code, text = self._received[0]
            verdict = SMTPResponseException(code, self._clean(text))
        self._received.clear()
        self._end(verdict)
        return verdict

    def _end(self, error: SMTPException) -> None:
        if self._ended is None:
            self._ended = error
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


def _time_is_up(reader: "asyncio.Future[None]") -> None:
    if not reader.done():
        reader.set_exception(SMTPReadTimeoutError("the server did not answer in time"))

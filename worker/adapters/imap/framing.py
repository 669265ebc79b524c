"""From a stream of bytes to whole responses, with a bound on how much a server may say."""

import re
from collections.abc import Iterator

_LITERAL_AT_END = re.compile(rb"\{(\d{1,20})\+?\}\Z")
_LONGEST_LITERAL_MARK = 24
# A server chooses how much it says, and each response costs its reading. No answer that is asked for here is longer:
# folders are asked for one level at a time, and letters by their Message-ID.
MAX_RESPONSES = 5_000
MAX_LINE_BYTES = 64 * 1024  # literals do not count
MAX_LITERALS = 16  # in one response
# These end in free text (resp-text), so that a `{5}` at their end announces nothing.
_STATUS = re.compile(rb"\+|\S{1,64} (?:OK|NO|BAD|BYE|PREAUTH)\b", re.IGNORECASE)


class ResponseTooLarge(Exception):
    """A server said more than was allowed to it."""


class ResponseFramer:
    """Cuts what arrives into responses: a line, or a line with the literals in it, without its last CRLF.

    Works line after line in a loop: a server chooses how many lines arrive at once, so nothing here may recurse.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._allowance = max_bytes
        self._responses_left = MAX_RESPONSES
        self._literals = 0
        self._buffer = bytearray()
        self._line_start = 0  # of the line that is being looked at, after the literals before it
        self._searched = 0  # up to here there is no CRLF; without it, a line in many small pieces costs its square

    def allow(self) -> None:
        """Allow `max_bytes` and `MAX_RESPONSES` once more: called when a command is sent."""
        self._allowance = self._max_bytes
        self._responses_left = MAX_RESPONSES

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take what arrived, give the responses that are whole now.

        Raises:
            ResponseTooLarge: more arrived than allowed, in bytes, responses or the length of a line; or a literal
                was announced that would be more.
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

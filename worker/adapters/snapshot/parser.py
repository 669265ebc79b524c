"""Reads a snapshot document incrementally; the whole document is never in memory, as text or as objects."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TextIO

from worker.adapters.snapshot.problems import Refusal, RefusedDocument

MAX_VALUE_CHARS: Final = 32 * 1024 * 1024
"""The longest account or other member of the document; bounds the reader's memory."""

_CHUNK_CHARS = 1024 * 1024
_ACCOUNTS = "accounts"
_SPACE = re.compile(r"[ \t\n\r]*")
MAX_DEPTH: Final = 64
"""Deeper nesting is not parsed: our own limit, because decoders of other Python versions give up at other depths."""

_DEPTHS = {"[": 1, "{": 1, "]": -1, "}": -1}
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|["\[\]{}]', re.DOTALL)


def _is_too_deep(text: str, start: int, end: int) -> bool:
    """Whether a parsed value is nested deeper than every supported Python version can handle."""
    if text.count("[", start, end) + text.count("{", start, end) <= MAX_DEPTH:
        return False
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text, start, end):
        depth += _DEPTHS.get(match.group(), 0)
        if depth > MAX_DEPTH:
            return True
    return False


def _zero(_digits: str) -> int:
    return 0


# This module ignores the values of numbers, and Python refuses to parse those with thousands of digits.
_DECODER = json.JSONDecoder(parse_int=_zero, parse_float=_zero)


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the document other than its accounts."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Element:
    """One account. `value` is the parsed text with zeros for numbers; None when it is nested too deeply."""

    position: int
    text: str
    value: object


def read_document(stream: TextIO, max_value_chars: int = MAX_VALUE_CHARS) -> Iterator[Member | Element]:
    """Yield the document's members and accounts in order.

    Raises:
        RefusedDocument: it is not JSON, not an object, names a member twice, has no list of accounts, or has a
            value longer than `max_value_chars`. Accounts before that place have already been yielded.
    """
    text = _Text(stream, max_value_chars)
    text.expect("{")
    names = set[str]()
    while text.peek() != "}":
        if names:
            text.expect(",")
        name = text.name()
        if name in names:  # which one is meant? readers of JSON disagree (RFC 8259 section 4)
            raise text.refusal(f"{name[:100]!r} stands more than once")
        names.add(name)
        text.expect(":")
        if name == _ACCOUNTS:
            yield from _accounts(text)
        else:
            yield Member(name, text.value()[0])
    text.expect("}")
    if text.peek():
        raise text.refusal("something follows after the document's end")
    if _ACCOUNTS not in names:
        raise RefusedDocument(Refusal.INVALID, "accounts: is missing")


def _accounts(text: "_Text") -> Iterator[Element]:
    if text.peek() != "[":
        raise RefusedDocument(Refusal.INVALID, "accounts: should be a list")
    text.expect("[")
    position = 0
    while text.peek() != "]":
        if position:
            text.expect(",")
        yield Element(position, *text.value(is_deep_allowed=True))
        position += 1
    text.expect("]")


class _Text:
    """A forward-only window onto the document's text."""

    def __init__(self, stream: TextIO, max_value_chars: int) -> None:
        self._stream = stream
        self._max_value_chars = max_value_chars
        self._window = ""
        self._at = 0
        self._before = 0

    def peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        while True:
            space = _SPACE.match(self._window, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._window):
                return self._window[self._at]
            if not self._read_more():
                return ""

    def expect(self, character: str) -> None:
        found = self.peek()
        if found != character:
            raise self.refusal(f"{character!r} is expected" if found else "the document ends too early")
        self._at += 1

    def name(self) -> str:
        if self.peek() != '"':
            raise self.refusal("a name in quotation marks is expected")
        text, _ = self.value()
        return str(json.loads(text))

    def value(self, *, is_deep_allowed: bool = False) -> tuple[str, object]:
        """The next value: its text and the parsed value."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._window, self._at)
            except RecursionError:
                return self._too_deep(is_deep_allowed=is_deep_allowed)
            except json.JSONDecodeError as error:
                refusal = self.refusal(error.msg, error.pos)
                if self._read_more():  # it may only be cut off where the window ends
                    continue
                raise refusal from None
            if end < len(self._window) or not self._read_more():  # a number at the window's end could go on
                if _is_too_deep(self._window, self._at, end):
                    return self._too_deep(is_deep_allowed=is_deep_allowed)
                return self._take(end), value

    def _too_deep(self, *, is_deep_allowed: bool) -> tuple[str, object]:
        if not is_deep_allowed:
            raise self.refusal("the document is nested too deeply")
        return self._skip(), None

    def _skip(self) -> str:
        """Skip a value nested too deeply for the decoder, so that other accounts still load."""
        while True:
            depth = 0
            for match in _STRING_OR_BRACKET.finditer(self._window, self._at):
                if match.group() == '"':  # a string that goes on behind the window
                    break
                depth += _DEPTHS.get(match.group(), 0)
                if depth == 0:
                    return self._take(match.end())
            if not self._read_more():
                raise self.refusal("the document ends too early")

    def _take(self, end: int) -> str:
        text = self._window[self._at : end]
        self._at = end
        return text

    def _read_more(self) -> bool:
        """Advance the window past consumed text and read more; False at the end of the document."""
        rest = len(self._window) - self._at
        if rest > self._max_value_chars:
            raise RefusedDocument(Refusal.TOO_LARGE, f"a value has more than {self._max_value_chars} characters")
        try:
            # Double the window: a long value is then retried a few times, not once per chunk.
            chunk = self._stream.read(max(_CHUNK_CHARS, rest))
        except UnicodeDecodeError as error:
            raise RefusedDocument(Refusal.UNREADABLE, f"the document is not UTF-8: {error.reason}") from None
        self._before += self._at
        self._window = self._window[self._at :] + chunk
        self._at = 0
        return bool(chunk)

    def refusal(self, message: str, at: int | None = None) -> RefusedDocument:
        position = self._before + (self._at if at is None else at)
        return RefusedDocument(Refusal.UNREADABLE, f"{message}, at character {position}")

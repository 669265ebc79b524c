"""Header fields in wire form: encoded words (RFC 2047), addresses (RFC 5322 section 3.4), folding.

Hand-written because the standard library's generator takes milliseconds a letter, and because its output differs
between versions of Python while the bytes of a letter must not. No text that passes through here can start a new
field: line breaks and other controls become spaces first.
"""

import re
from binascii import b2a_base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Self

from worker.domain.addresses import Address

# RFC 2047 section 2: a line with an encoded word has at most 76 characters, an encoded word itself at most 75.
# Other lines may have 78 (RFC 5322 section 2.1.1); one limit for all is simpler.
_LINE_CHARS = 76
_OPENING = "=?utf-8?b?"
_CLOSING = "?="
_FRAME_CHARS = len(_OPENING + _CLOSING)
_WORD_BYTES = 39  # 52 characters in base64
_LEAST_ENCODED_BYTES = 6  # below this an encoded word starts on a new line; one character has at most 4

MAX_FIELD_BYTES = 60_000
"""Limit of an address field. Servers refuse letters for long fields, the most lenient above 64 KB."""

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MAX_PLAIN_CHARS = 60  # a longer word cannot be folded, an encoded one can
_PLAIN_WORD = re.compile(rf"[!-~]{{1,{_MAX_PLAIN_CHARS}}}")
_ATOM = re.compile(rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~-]{{1,{_MAX_PLAIN_CHARS}}}")
_DOT_ATOM = re.compile(r"[^.]+(?:\.[^.]+)*")
# Ranges instead of Unicode categories: those differ between versions of Python.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class NamedAddress:
    """An address with its display name, which may be empty."""

    name: str
    address: Address


class _Field:
    """A field that grows token by token; it folds before a token that would make the line too long."""

    def __init__(self, name: str) -> None:
        self._parts = [name, ":"]
        self._column = len(name) + 1
        self._is_empty = True

    def add(self, token: str) -> Self:
        """Add an unbreakable token; the first one always stays on the line of the field's name."""
        if not self._is_empty and self._column + 1 + len(token) > _LINE_CHARS:
            self._fold()
        self._parts += (" ", token)
        self._column += 1 + len(token)
        self._is_empty = False
        return self

    def add_encoded(self, text: str) -> Self:
        """Add text as encoded words; the spaces between them are not part of it (RFC 2047 section 6.2)."""
        data = text.encode()
        start = 0
        while start < len(data):
            end = _character_end(data, start + self._encoded_room())
            encoded = b2a_base64(data[start:end], newline=False).decode("ascii")
            self.add(f"{_OPENING}{encoded}{_CLOSING}")
            start = end
        return self

    def _encoded_room(self) -> int:
        """Bytes of text that fit on this line, or on the next one when these are too few."""
        room = (_LINE_CHARS - self._column - 1 - _FRAME_CHARS) // 4 * 3
        if room < _LEAST_ENCODED_BYTES:
            self._fold()
            room = (_LINE_CHARS - 1 - _FRAME_CHARS) // 4 * 3
        return room

    def _fold(self) -> None:
        self._parts.append("\r\n")
        self._column = 0

    def __str__(self) -> str:
        return "".join(self._parts) + "\r\n"


def encoded_words(text: str) -> list[str]:
    """The text as encoded words (RFC 2047), each short enough for a line of its own after ` name="`."""
    data = text.encode()
    words, start = [], 0
    while start < len(data):
        end = _character_end(data, start + _WORD_BYTES)
        words.append(f"{_OPENING}{b2a_base64(data[start:end], newline=False).decode('ascii')}{_CLOSING}")
        start = end
    return words


def text_field(name: str, text: str) -> str:
    """An unstructured field for people (RFC 5322 section 3.6.5): encodes only the words that need it."""
    words = _one_line(text).split(" ")
    field = _Field(name)
    if words == [""]:
        return str(field)
    if "" in words:  # spaces that only encoding keeps
        return str(field.add_encoded(" ".join(words)))
    run: list[str] = []
    for word in words:
        if not _is_plain(word):
            run.append(word)
            continue
        if run:
            field.add_encoded(" ".join(run))
            run = []
        field.add(word)
    if run:
        field.add_encoded(" ".join(run))
    return str(field)


def date_field(name: str, moment: datetime) -> str:
    """A date field with its zone (RFC 5322 section 3.3), in half of the standard library's time."""
    text = moment.isoformat(timespec="seconds")  # 2026-11-23T10:00:00+03:00
    day = f"{_DAYS[moment.weekday()]}, {text[8:10]} {_MONTHS[moment.month - 1]} {text[:4]}"
    return f"{name}: {day} {text[11:19]} {text[19:22]}{text[23:25]}\r\n"


def token_field(name: str, tokens: Sequence[str]) -> str:
    """A field of tokens that need no encoding: Message-IDs, keywords."""
    if len(tokens) == 1:
        return f"{name}: {tokens[0]}\r\n"  # the first one always stays beside the name
    field = _Field(name)
    for token in tokens:
        field.add(token)
    return str(field)


def identifier_field(name: str, identifier: str) -> str:
    """A field for programs: the identifier unchanged when it is one plain word, else exactly, in encoded words."""
    if _is_plain(identifier):
        return f"{name}: {identifier}\r\n"
    return str(_Field(name).add_encoded(_one_line(identifier)))


def address_field(name: str, addresses: Sequence[NamedAddress]) -> str:
    """A list of addresses with their names (RFC 5322 section 3.4).

    A local part outside ASCII is in UTF-8 (RFC 6532); names never are, so that they never need SMTPUTF8.
    """
    return _field_of_one(name, addresses[0]) if len(addresses) == 1 else _field_of_many(name, addresses)


@lru_cache(maxsize=1_024)  # some hundred kilobytes, or 25 MB when all names are as long as names may be
def _field_of_one(name: str, named: NamedAddress) -> str:
    """Cached, because the same people write and get letters again and again."""
    return _field_of_many(name, (named,))


def _field_of_many(name: str, addresses: Sequence[NamedAddress]) -> str:
    """Omits names where they make the field too long for some servers, and then includes as many addresses as fit."""
    field = _field_of_all(name, addresses)
    if len(field.encode()) > MAX_FIELD_BYTES:
        addresses = [NamedAddress("", named.address) for named in addresses]
        field = _field_of_all(name, addresses)
    while len(field.encode()) > MAX_FIELD_BYTES:
        addresses = addresses[: len(addresses) * 7 // 8]
        field = _field_of_all(name, addresses)
    return field


def _field_of_all(name: str, addresses: Sequence[NamedAddress]) -> str:
    field = _Field(name)
    for number, named in enumerate(addresses, 1):
        comma = "," if number < len(addresses) else ""
        phrase = _one_line(named.name).strip(" ")
        if phrase:
            _add_phrase(field, phrase)
            field.add(f"<{_addr_spec(named.address)}>{comma}")
        else:
            field.add(_addr_spec(named.address) + comma)
    return str(field)


def _add_phrase(field: _Field, phrase: str) -> None:
    words = phrase.split(" ")
    if "=?" not in phrase and all(map(_ATOM.fullmatch, words)):
        for word in words:
            field.add(word)
        return
    quoted = phrase.replace("\\", "\\\\").replace('"', '\\"')
    if phrase.isascii() and "=?" not in phrase and len(quoted) <= _MAX_PLAIN_CHARS:
        field.add(f'"{quoted}"')
    else:
        field.add_encoded(phrase)


def _addr_spec(address: Address) -> str:
    # Repeated or trailing dots occur, but a header may have them only in quotes.
    local = address.local if _DOT_ATOM.fullmatch(address.local) else f'"{address.local}"'
    return f"{local}@{address.domain}"


def _is_plain(word: str) -> bool:
    # "=?" could be mistaken for the start of an encoded word.
    return _PLAIN_WORD.fullmatch(word) is not None and "=?" not in word


def _one_line(text: str) -> str:
    if text.isprintable():
        return text
    return _LONE_SURROGATE.sub("\ufffd", _CONTROL.sub(" ", text))


def _character_end(data: bytes, end: int) -> int:
    """The last character boundary at or before `end` (a continuation byte of UTF-8 is 10xxxxxx)."""
    if end >= len(data):
        return len(data)
    while data[end] & 0xC0 == 0x80:
        end -= 1
    return end

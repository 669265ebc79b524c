"""Encodes outgoing strings, mailbox names and dates as RFC 3501 requires.

A command's arguments are atoms (`str`, sent verbatim) and literals. Each literal splits the command: the part before it
ends in its length, and the rest waits until the server requests it (RFC 3501 section 4.3).
"""

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_PRINTABLE = re.compile(rb"[\x20-\x7e]*")
_UTF7_PART = re.compile(rb"&([A-Za-z0-9+,]*)-|([\x20-\x25\x27-\x7e]+)")
_UTF7_RUN = re.compile(r"(&)|([\x20-\x25\x27-\x7e]+)|([^\x20-\x7e]+)")


COPIED_BYTES = 64 * 1024
"""Buffers up to this size are copied and sent in one step: each step is a system call and a TLS record."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """Malformed bytes; `why` contains none of them."""

    why: str


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes announced by their length, and so any bytes except NUL."""

    content: bytes = field(repr=False)  # may be a password


Argument = str | Literal
Buffers = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A command in wire form: its arguments up to the first literal, then one answer for each `+` of the server.

    `must_be_asked`: the command cannot have succeeded before the server has requested all answers.
    """

    opening: str = field(repr=False)  # may hold a password
    answers: tuple[Buffers, ...] = field(default=(), repr=False)
    must_be_asked: bool = True


def quotable(value: str | bytes) -> Argument:
    """The value as a quoted string where that is safe, else as a literal (UTF-8).

    Raises:
        ValueError: it holds NUL, which IMAP cannot carry at all.
    """
    content = value.encode() if isinstance(value, str) else value
    if b"\0" in content:
        raise ValueError("a NUL character cannot be sent over IMAP")
    if not _PRINTABLE.fullmatch(content):
        return Literal(content)
    return '"' + content.decode("ascii").replace("\\", "\\\\").replace('"', '\\"') + '"'


def dialogue(arguments: Sequence[Argument]) -> Dialogue:
    """Split a command's arguments at its literals; a large literal is not copied.

    Literals always wait for the server's `+`, even if it supports LITERAL+ (RFC 7888): a letter sent without it, on a
    connection that is dead in one direction, could be appended after the search for it, and then appended again.
    """
    parts: list[list[bytes]] = [[]]
    for index, argument in enumerate(arguments):
        space = b" " if index else b""
        if isinstance(argument, Literal):
            parts[-1].append(space + b"{%d}" % len(argument.content))
            parts.append([argument.content])
        else:
            parts[-1].append(space + argument.encode("ascii"))
    opening = b"".join(parts[0]).decode("ascii")
    return Dialogue(opening, tuple((*part, b"\r\n") for part in parts[1:]))


def together(buffers: Buffers) -> Buffers:
    """Join the buffers, where that is cheaper than sending each separately."""
    return (b"".join(buffers),) if sum(map(len, buffers)) <= COPIED_BYTES else buffers


def encode_mailbox_name(name: str) -> bytes:
    """A mailbox name in modified UTF-7 (RFC 3501 section 5.1.3).

    Raises:
        ValueError: the name has half of a surrogate pair, which no encoding carries.
    """
    return b"".join(_encode_run(*match.groups()) for match in _UTF7_RUN.finditer(name))


def _encode_run(ampersand: str | None, plain: str | None, other: str | None) -> bytes:
    if ampersand:
        return b"&-"
    if plain:
        return plain.encode("ascii")
    encoded = binascii.b2a_base64((other or "").encode("utf-16-be"), newline=False)
    return b"&" + encoded.rstrip(b"=").replace(b"/", b",") + b"-"


def decode_mailbox_name(raw: bytes) -> str | Malformed:
    """Decode a mailbox name from modified UTF-7."""
    name: list[str] = []
    position = 0
    while position < len(raw):
        match = _UTF7_PART.match(raw, position)
        if match is None:
            return Malformed(f"no modified UTF-7 at byte {position}")
        shifted, plain = match.groups()
        try:
            name.append(plain.decode("ascii") if shifted is None else _decode_shifted(shifted))
        except ValueError:  # binascii.Error and UnicodeDecodeError are both
            return Malformed(f"no UTF-16 in base64 at byte {position}")
        position = match.end()
    return "".join(name)


def _decode_shifted(shifted: bytes) -> str:
    if not shifted:
        return "&"
    padded = shifted.replace(b",", b"/") + b"=" * (-len(shifted) % 4)
    return binascii.a2b_base64(padded, strict_mode=True).decode("utf-16-be")


def date_time(date: datetime) -> str:
    """A date in APPEND's format (`date-time` in RFC 3501 section 9), in its own zone if the offset has whole minutes.

    Raises:
        ValueError: the date is naive.
    """
    offset = date.utcoffset()
    if offset is None:
        raise ValueError("the date of a letter has a time zone")
    if offset % timedelta(minutes=1):
        date, offset = date.astimezone(UTC), timedelta()
    minutes = offset // timedelta(minutes=1)
    sign = "-" if minutes < 0 else "+"
    hours, rest = divmod(abs(minutes), 60)
    day = f"{date.day:02d}-{_MONTHS[date.month - 1]}-{date.year:04d}"
    time = f"{date.hour:02d}:{date.minute:02d}:{date.second:02d}"
    return f'"{day} {time} {sign}{hours:02d}{rest:02d}"'

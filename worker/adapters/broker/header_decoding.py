"""Decodes headers that RabbitMQ forwards but the library cannot read.

The library decodes names and some texts as strict UTF-8 and timestamps as calendar dates, and recurses into tables.
RabbitMQ checks none of that. A decoding error ends the connection, and so does the same message after redelivery: one
producer's malformed headers would stop all letters. So an unreadable table decodes as empty.
"""

import struct
from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog
from pamqp import decode

log = structlog.get_logger(__name__)
_UNREADABLE = (ValueError, ArithmeticError, OSError, RecursionError)

# The library reads field by field, at microseconds each: 100 kB of the shortest ones delayed all letters by half a
# second. We use some twenty, and brokers and producers add only a few more.
MAX_FIELDS = 1_000
_SURELY_FEW_BYTES = 2 * MAX_FIELDS  # no field is shorter
_LONG = struct.Struct(">I")
_SIZES = {  # of fixed-size values, by type (RabbitMQ's "AMQP 0-9-1 Errata", section 3)
    **dict.fromkeys(b"tbB", 1),
    **dict.fromkeys(b"suU", 2),
    **dict.fromkeys(b"iIf", 4),
    **dict.fromkeys(b"lLdT", 8),
    **dict.fromkeys(b"D", 5),
    **dict.fromkeys(b"V\0", 0),
}
_TABLE, _ARRAY = b"FA"
_TEXTS = b"Sx"

Decoder = Callable[[bytes], tuple[int, Any]]


def read_table(value: bytes) -> tuple[int, dict[str, Any]]:
    """The table's length in bytes and its contents: empty when it is unreadable or has too many fields."""
    try:
        _require_few(value)
        length, table = decode.field_table(value)
    except _UNREADABLE as error:
        log.warning("headers.unreadable", error=type(error).__name__)
        return 4 + int(_LONG.unpack_from(value)[0]), {}
    return length, dict(table)


def _require_few(value: bytes) -> None:
    """Raise `ValueError` for a table with too many fields, nested tables and arrays included."""
    size = int(_LONG.unpack_from(value)[0])
    if size <= _SURELY_FEW_BYTES:
        return
    fields = 0
    waiting = [(_LONG.size, min(_LONG.size + size, len(value)), True)]
    while waiting:
        at, end, has_names = waiting.pop()
        while at < end:
            fields += 1
            if fields > MAX_FIELDS:
                raise ValueError("too many fields")
            if has_names:
                at += 1 + value[at]
            kind = value[at] if at < end else 0
            at += 1
            if kind in _SIZES:
                at += _SIZES[kind]
                continue
            if kind not in (_TABLE, _ARRAY, *_TEXTS) or at + _LONG.size > end:
                break  # the library reports the error when it reaches that place
            inside = at + _LONG.size
            at = inside + int(_LONG.unpack_from(value, at)[0])
            if kind not in _TEXTS:
                waiting.append((inside, min(at, end), kind == _TABLE))


def read_moment(value: bytes) -> tuple[int, datetime | None]:
    """The timestamp's length in bytes and its value: None when it is outside the calendar."""
    try:
        return decode.timestamp(value)
    except _UNREADABLE:
        return 8, None


def read_text(value: bytes) -> tuple[int, str]:
    """The text's length in bytes and its value, with a question mark for each byte sequence that is not UTF-8.

    A replacement character takes three bytes and could make the text too long to publish again.
    """
    length = value[0]
    return length + 1, value[1 : length + 1].decode("utf-8", "replace").replace("\ufffd", "?")


def install() -> None:
    """Make the library use these functions from now on, process-wide."""
    decoders: dict[str, Decoder] = {"table": read_table, "timestamp": read_moment, "shortstr": read_text}
    decode.METHODS.update(decoders)

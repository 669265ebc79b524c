"""Headers that RabbitMQ passes on and that the library cannot read.

The library reads names and some texts as strict UTF-8 and moments as dates of the calendar, and recurses into tables.
RabbitMQ checks none of that. An error in reading ends the connection, and so does the same message the next time: one
producer's rubbish would stop everybody's letters. So a table that cannot be read is read as empty.
"""

import struct
from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog
from pamqp import decode

log = structlog.get_logger(__name__)
UNREADABLE = (ValueError, ArithmeticError, OSError, RecursionError)

Decoder = Callable[[bytes], tuple[int, Any]]


def read_table(value: bytes) -> tuple[int, dict[str, Any]]:
    """How many bytes the table has, and what is in it: nothing when it cannot be read."""
    try:
        length, table = decode.field_table(value)
    except UNREADABLE as error:
        log.warning("headers.unreadable", error=type(error).__name__)
        return 4 + int(struct.unpack_from(">I", value)[0]), {}
    return length, dict(table)


def read_moment(value: bytes) -> tuple[int, datetime | None]:
    """How many bytes the moment has, and which it is: None when it is none of the calendar's."""
    try:
        return decode.timestamp(value)
    except UNREADABLE:
        return 8, None


def read_text(value: bytes) -> tuple[int, str]:
    """How many bytes the text has, and what it says; what is not UTF-8 becomes replacement characters."""
    length = value[0]
    return length + 1, value[1 : length + 1].decode("utf-8", "replace")


def install() -> None:
    """Let the library read with these from now on, in this whole process."""
    decoders: dict[str, Decoder] = {"table": read_table, "timestamp": read_moment, "shortstr": read_text}
    decode.METHODS.update(decoders)

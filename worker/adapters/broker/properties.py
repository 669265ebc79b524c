"""A message's properties, written and read the short way.

pamqp finds out anew for every property and header of every message of which type it is, which costs as much as all the
rest of publishing. What is written is byte for byte the same.
"""

import struct
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

import structlog
from pamqp import encode

from worker.adapters.broker.frames import fits_short_string, short_string
from worker.adapters.broker.header_decoding import UNREADABLE, read_table, read_text
from worker.delivery.messages import Publication

log = structlog.get_logger(__name__)

_FLAGS, _LONG, _TIMESTAMP = struct.Struct(">H"), struct.Struct(">I"), struct.Struct(">Q")
_MAX_NAME_BYTES = 128  # AMQP 0-9-1, section 4.2.5.5
# A bit for each property that is there, in the order in which they follow (section 4.2.6.1).
_CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS, _DELIVERY_MODE = 1 << 15, 1 << 14, 1 << 13, 1 << 12
_CORRELATION_ID, _MESSAGE_ID, _MOMENT, _TYPE, _APP_ID = 1 << 10, 1 << 7, 1 << 6, 1 << 5, 1 << 3
_PERSISTENT = b"\x02"
_APP = short_string("sendas")


def write_properties(publication: Publication, message_id: str) -> bytes:
    """The properties of a persistent message, as a content header has them.

    An id may have 1,000 characters, and a property takes 255 bytes (AMQP 0-9-1, section 4.2.5.3). A correlation id or a
    type that does not fit is left out: both are in the body too, and a result must not be lost by their length.

    Raises:
        ValueError: the content type or message id, which are of our own making, are longer than AMQP takes them.
    """
    flags = _HEADERS | _DELIVERY_MODE | _MESSAGE_ID | _APP_ID
    parts = [b""]
    if publication.content_type:
        flags |= _CONTENT_TYPE
        parts.append(short_string(publication.content_type))
    parts += (_table(publication.headers), _PERSISTENT)
    if publication.correlation_id and fits_short_string(publication.correlation_id):
        flags |= _CORRELATION_ID
        parts.append(short_string(publication.correlation_id))
    parts.append(short_string(message_id))
    if publication.timestamp is not None:
        flags |= _MOMENT
        parts.append(_moment(publication.timestamp))
    if publication.type and fits_short_string(publication.type):
        flags |= _TYPE
        parts.append(short_string(publication.type))
    parts.append(_APP)
    parts[0] = _FLAGS.pack(flags)
    return b"".join(parts)


def read_properties(data: bytes) -> tuple[str | None, Mapping[str, object]]:
    """Content type and headers; none where they cannot be read: one producer's rubbish must not stop everybody else."""
    content_type: str | None = None
    headers: Mapping[str, object] = {}
    at = _FLAGS.size
    try:
        [flags] = _FLAGS.unpack_from(data)
        if flags & _CONTENT_TYPE:
            size, content_type = read_text(data[at:])
            at += size
        if flags & _CONTENT_ENCODING:
            at += 1 + data[at]
        if flags & _HEADERS:
            _, headers = read_table(data[at:])
    except (*UNREADABLE, IndexError, struct.error) as error:
        log.warning("properties.unreadable", error=type(error).__name__)
    return content_type, headers


def _moment(value: datetime) -> bytes:
    return _TIMESTAMP.pack(int(value.timestamp()))


def _table(headers: Mapping[str, Any]) -> bytes:
    parts = []
    for name, value in sorted(headers.items()):
        parts.append(_field_name(name))
        if isinstance(value, str):
            data = value.encode()
            parts += (b"S", _LONG.pack(len(data)), data)
        else:
            parts.append(encode.encode_table_value(value))
    data = b"".join(parts)
    return _LONG.pack(len(data)) + data


@lru_cache(maxsize=512)  # ours are few; a producer's come along with what is put back
def _field_name(name: str) -> bytes:
    is_short = len(name) <= _MAX_NAME_BYTES // 4
    return short_string(name if is_short else name.encode()[:_MAX_NAME_BYTES].decode("utf-8", "ignore"))

"""A message's properties, written the short way.

pamqp finds out anew for every property and header of every message of which type it is, which costs as much as all the
rest of publishing. What is written is byte for byte the same.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from struct import Struct
from typing import Any

from aiormq import spec
from pamqp import encode

_FLAGS, _LONG, _TIMESTAMP = Struct(">H"), Struct(">I"), Struct(">Q")
_MAX_SHORT_BYTES = 255
_MAX_NAME_BYTES = 128  # AMQP 0-9-1, section 4.2.5.5


class Properties(spec.Basic.Properties):
    """As the library's."""

    def marshal(self) -> bytes:
        """The properties as a content header has them (AMQP 0-9-1, section 4.2.6.1)."""
        flags, parts = 0, []
        for name, flag, write in _WRITERS:
            value = getattr(self, name)
            if value is not None and value != "":
                flags |= flag
                parts.append(write(value))
        return _FLAGS.pack(flags) + b"".join(parts)


def _short(text: str) -> bytes:
    data = text.encode()
    if len(data) > _MAX_SHORT_BYTES:
        raise ValueError("a short string has at most 255 bytes")
    return bytes((len(data),)) + data


def _octet(value: int) -> bytes:
    return bytes((value,))


def _moment(value: datetime) -> bytes:
    return _TIMESTAMP.pack(int(value.timestamp()))


def _table(headers: Mapping[str, Any]) -> bytes:
    parts = []
    for name, value in sorted(headers.items()):
        parts.append(_short(name if len(name) <= _MAX_NAME_BYTES // 4 else _cut(name)))
        if isinstance(value, str):
            data = value.encode()
            parts += (b"S", _LONG.pack(len(data)), data)
        else:
            parts.append(encode.encode_table_value(value))
    data = b"".join(parts)
    return _LONG.pack(len(data)) + data


def _cut(name: str) -> str:
    return name.encode()[:_MAX_NAME_BYTES].decode("utf-8", "ignore")


_WRITERS: tuple[tuple[str, int, Callable[[Any], bytes]], ...] = (
    ("content_type", 1 << 15, _short),
    ("content_encoding", 1 << 14, _short),
    ("headers", 1 << 13, _table),
    ("delivery_mode", 1 << 12, _octet),
    ("priority", 1 << 11, _octet),
    ("correlation_id", 1 << 10, _short),
    ("reply_to", 1 << 9, _short),
    ("expiration", 1 << 8, _short),
    ("message_id", 1 << 7, _short),
    ("timestamp", 1 << 6, _moment),
    ("message_type", 1 << 5, _short),
    ("user_id", 1 << 4, _short),
    ("app_id", 1 << 3, _short),
)

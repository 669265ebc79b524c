"""Whatever table RabbitMQ passes on, reading it never ends the connection."""

import struct
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, decode, encode
from pamqp.common import FieldTable

from worker.adapters.broker import header_decoding


def sized(fields: bytes) -> bytes:
    return struct.pack(">I", len(fields)) + fields


def nested(depth: int) -> bytes:
    fields = b""
    for _ in range(depth):
        fields = b"\x01aF" + sized(fields)
    return fields


@pytest.mark.parametrize(
    "fields",
    [b"\x02\xff\xfeV", b"\x01tT" + b"\xff" * 8, b"\x01a?", b"\x09a", b"\x01aD\xff\xff\xff\xff\xff", nested(2_000)],
    ids=["name not UTF-8", "moment", "unknown type", "cut off", "decimal", "nested"],
)
def test_a_table_that_cannot_be_read_is_skipped_whole(fields: bytes) -> None:
    """If it were read short or long, then what follows in the frame would be misread."""
    length, table = header_decoding.read_table(sized(fields) + b"what follows")
    assert length == len(sized(fields))
    assert not table or "a" in table


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (decode.short_str, b"\x02\xff\xfe"),
        (decode.field_table, sized(b"\x02\xff\xfeV")),
        (decode.field_table, sized(b"\x01tT" + b"\xff" * 8)),
        (decode.timestamp, b"\xff" * 8),
    ],
)
def test_the_library_alone_cannot_read_what_the_broker_passes_on(read: Callable[[bytes], object], value: bytes) -> None:
    """If this fails because nothing is raised, then the library has learned it, and our decoders may go."""
    with pytest.raises((ValueError, OverflowError)):
        read(value)


@given(st.binary(max_size=60))
def test_any_fields_are_a_table(fields: bytes) -> None:
    assert header_decoding.read_table(sized(fields))[0] == len(sized(fields))


def test_a_good_table_is_read_as_the_library_reads_it() -> None:
    table: FieldTable = {"a": 1, "b": "щ", "c": {"d": [True, Decimal("1.5")]}, "e": datetime(2026, 1, 1, tzinfo=UTC)}
    assert header_decoding.read_table(encode.field_table(table))[1] == table


def test_properties_of_a_message_are_read_in_this_way() -> None:
    """If content type, moment and headers are rubbish, then the message arrives all the same."""
    header_decoding.install()
    properties = commands.Basic.Properties()
    flags = sum(properties.flags[name] for name in ("content_type", "headers", "timestamp"))
    properties.unmarshal(flags, b"\x02\xff\xfe" + sized(b"\x02\xff\xfeV") + b"\xff" * 8)
    assert properties.content_type == "??"
    assert properties.headers == {}
    assert properties.timestamp is None


@given(st.binary(max_size=255))
def test_a_text_that_was_read_can_be_written_again(text: bytes) -> None:
    """If a producer's content type is rubbish, then the message can go on to a delay queue or the dead queue."""
    length, read = header_decoding.read_text(bytes((len(text),)) + text + b"what follows")
    assert length == len(text) + 1
    assert len(encode.short_string(read)) <= length


_MANY = b"\x01aA" + struct.pack(">I", 100_000) + b"V" * 100_000
_UNKNOWN = b"\x01bF" + struct.pack(">I", 3) + b"\x01c?"


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(b"\x01aV" * 40_000, id="fields"),
        pytest.param(_MANY, id="an array"),
        pytest.param(b"\x01aF" + struct.pack(">I", len(_MANY)) + _MANY, id="an array in a table"),
        pytest.param(_MANY + _UNKNOWN, id="an array before what cannot be read"),
        pytest.param(b"\x01aA" + struct.pack(">I", 100_000) + b"A\0\0\0\0" * 20_000, id="empty arrays"),
    ],
)
def test_a_table_with_too_many_fields_is_read_as_empty(fields: bytes) -> None:
    """If a producer's headers would take long to read, then the message is one without headers."""
    table = sized(fields)
    assert header_decoding.read_table(table + b"rest") == (len(table), {})


def test_many_long_texts_are_read() -> None:
    headers: dict[str, Any] = {f"name-{number}": "x" * 100 for number in range(500)}
    table = encode.field_table(headers)
    assert header_decoding.read_table(table) == (len(table), headers)

"""Rows of the ledger's tables, read and selected."""

import zlib
from collections.abc import Collection
from typing import Any, TypeVar

from sqlalchemy import Row, bindparam, tuple_

from worker.adapters.ledger.operations import Key
from worker.adapters.ledger.schema import entries
from worker.delivery.ledger import HandOver

T = TypeVar("T")

# The entries of the parameter `keys`: pairs of event key and recipient.
of_keys = tuple_(entries.c.event_key, entries.c.recipient).in_(bindparam("keys", expanding=True))

# For reading: those entries and perhaps some more of the same events. PostgreSQL looks up two plain lists by one scan
# of the index, while it plans a list of pairs as so many conditions.
near_keys = entries.c.event_key.in_(bindparam("events", expanding=True)) & entries.c.recipient.in_(
    bindparam("recipients", expanding=True)
)


def near(keys: Collection[Key]) -> dict[str, list[Any]]:
    """Parameters of `near_keys`.

    The lists are padded, so that there are few different statements.
    """
    return {
        "events": padded(sorted({event_key for event_key, _ in keys})),
        "recipients": padded(sorted({recipient for _, recipient in keys})),
    }


def padded(values: list[T]) -> list[T]:
    """The values, and the last one again up to a power of two: with few lengths there are few statements."""
    return values + values[-1:] * ((1 << (len(values) - 1).bit_length()) - len(values))


def hand_over_of(row: Row[Any]) -> HandOver:
    """What was noted just before the final dot."""
    return HandOver(row.account_id, row.mailbox_id, row.message_id, row.attempt, row.handed_over_at)


def compressed(body: bytes) -> bytes:
    """A result as it is stored. The window and tables are small as results are: to clear large ones costs more."""
    compressor = zlib.compressobj(level=3, wbits=12, memLevel=5)
    return compressor.compress(body) + compressor.flush()


def body_of(compressed: bytes | None) -> bytes | None:
    """A result as it was recorded; None when it is not there or damaged, as after a partial restore."""
    try:
        return zlib.decompress(compressed or b"")
    except zlib.error:
        return None

"""Rows of the ledger's tables, read and selected."""

import zlib
from typing import Any

from sqlalchemy import Row, bindparam, tuple_

from worker.adapters.ledger.schema import entries
from worker.delivery.ledger import HandOver

# The entries of the parameter `keys`: pairs of event key and recipient.
of_keys = tuple_(entries.c.event_key, entries.c.recipient).in_(bindparam("keys", expanding=True))


def hand_over_of(row: Row[Any]) -> HandOver:
    """What was noted just before the final dot."""
    return HandOver(row.account_id, row.mailbox_id, row.message_id, row.attempt, row.handed_over_at)


def body_of(compressed: bytes | None) -> bytes | None:
    """A result as it was recorded; None when it is not there or damaged, as after a partial restore."""
    try:
        return zlib.decompress(compressed or b"")
    except zlib.error:
        return None

"""Converts records to rows and back."""

import json
import zlib
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row

from worker.history.model import Record

_LEVEL = 6


def row_of(record: Record) -> dict[str, object]:
    """The values of `history_results`, except the number, which the database assigns."""
    return {
        "id": record.id,
        "at": record.at,
        "type": record.type,
        "account_id": record.account_id,
        "event_id": record.event_id,
        "event_type": record.event_type,
        "task_id": record.task_id,
        "comment_id": record.comment_id,
        "mailbox_id": record.mailbox_id,
        "message_id": record.message_id,
        "reason": record.reason,
        "body": _packed(record.addresses, record.body),
    }


def record_of(row: Row[Any]) -> Record:
    """The record in a row of `history_results`."""
    kept = json.loads(zlib.decompress(row.body))
    return Record(
        id=row.id,
        type=row.type,
        at=row.at,
        account_id=row.account_id,
        event_id=row.event_id,
        event_type=row.event_type,
        task_id=row.task_id,
        comment_id=row.comment_id,
        mailbox_id=row.mailbox_id,
        message_id=row.message_id,
        addresses=tuple(kept["addresses"]),
        reason=row.reason,
        body=kept["body"],
    )


def _packed(addresses: tuple[str, ...], body: Mapping[str, object]) -> bytes:
    # In ASCII, because a lone surrogate in a server's words has no UTF-8 encoding.
    text = json.dumps({"addresses": addresses, "body": body}, separators=(",", ":"))
    return zlib.compress(text.encode("ascii"), _LEVEL)

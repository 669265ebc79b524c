"""What becomes of claims: handed over, recorded, given back."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from worker.adapters.ledger.entry import State
from worker.adapters.ledger.operations import Key, Operation, ToHandOver, ToRecord, ToRelease
from worker.adapters.ledger.rows import compressed, near, near_keys
from worker.adapters.ledger.schema import entries, results
from worker.adapters.ledger.statements import Statement
from worker.domain.vocabulary import Outcome
from worker.errors import LostClaim

_LOST = "the ledger gave this letter to another worker, or it has ended"


class _Stand(NamedTuple):
    """How an entry stands."""

    event_key: str
    recipient: int
    state: State
    owner: int | None
    outcome: Outcome | None
    result_id: str | None


_STAND = Statement(select(*(entries.c[name] for name in _Stand._fields)).where(near_keys))
_THIS_ENTRY_IF_MINE = (
    entries.c.event_key == bindparam("of_event"),
    entries.c.recipient == bindparam("of_recipient"),
    entries.c.owner == bindparam("me"),
)
_HAND_OVER = Statement(
    update(entries)
    .where(*_THIS_ENTRY_IF_MINE, entries.c.state != State.DONE)
    .values(
        state=State.HANDED_OVER,
        account_id=bindparam("account"),
        mailbox_id=bindparam("mailbox"),
        message_id=bindparam("message"),
        attempt=bindparam("number"),
        handed_over_at=bindparam("at"),
    )
)
_RECORD = Statement(
    update(entries)
    .where(*_THIS_ENTRY_IF_MINE, entries.c.state != State.DONE)
    .values(state=State.DONE, outcome=bindparam("how"), result_id=bindparam("result"))
)
_RELEASE = Statement(delete(entries).where(*_THIS_ENTRY_IF_MINE, entries.c.state != State.DONE))
_FREE = delete(entries).where(*_THIS_ENTRY_IF_MINE, entries.c.state == State.CLAIMED)
_LEAVE_IN_DOUBT = update(entries).where(*_THIS_ENTRY_IF_MINE, entries.c.state == State.HANDED_OVER).values(owner=None)


def release(connection: Connection, me: int, operations: Sequence[ToRelease]) -> None:
    """Give back what is ours of the operations' entries."""
    let_go = _rows_of(me, (operation for operation in operations if operation.keeps_doubt))
    if let_go:
        connection.execute(_FREE, let_go)
        connection.execute(_LEAVE_IN_DOUBT, let_go)
    released = _rows_of(me, (operation for operation in operations if not operation.keeps_doubt))
    if released:
        _RELEASE.each(connection, released)


def _rows_of(me: int, operations: Iterable[ToRelease]) -> list[dict[str, Any]]:
    keys = sorted(key for operation in operations for key in operation.keys)
    return [{"of_event": event_key, "of_recipient": recipient, "me": me} for event_key, recipient in keys]


def advance(
    connection: Connection, me: int, now: datetime, operations: Sequence[ToHandOver | ToRecord]
) -> dict[Operation[Any], LostClaim | None]:
    """Hand over and record, each operation whole or not at all.

    What is checked here still holds when it is written: our row of `ledger_owners` is locked (see `ownership`).
    """
    if not operations:
        return {}
    keys = {key for operation in operations for key in operation.keys}
    stand = {row[:2]: _Stand(*row) for row in _STAND.rows(connection, near(keys))}
    answers: dict[Operation[Any], LostClaim | None] = {
        operation: None if _is_ours(operation, stand, me) else LostClaim(_LOST) for operation in operations
    }
    ours = [operation for operation in operations if answers[operation] is None]
    _hand_over(connection, me, [operation for operation in ours if isinstance(operation, ToHandOver)])
    _record(connection, me, now, [operation for operation in ours if isinstance(operation, ToRecord)])
    return answers


def _is_ours(operation: ToHandOver | ToRecord, stand: Mapping[Key, _Stand], me: int) -> bool:
    rows = [stand.get(key) for key in operation.keys]
    if not all(row is not None and row.owner == me for row in rows):
        return False
    done = {row.recipient: (row.outcome, row.result_id) for row in rows if row is not None and row.state is State.DONE}
    if not done:
        return True
    # The same record once more, because nobody knew whether the first one was written.
    return isinstance(operation, ToRecord) and done == {
        recipient: (record.outcome, record.result_id) for record in operation.records for recipient in record.recipients
    }


def _hand_over(connection: Connection, me: int, operations: Sequence[ToHandOver]) -> None:
    rows = [
        {
            "of_event": operation.event_key,
            "of_recipient": recipient,
            "me": me,
            "account": operation.hand_over.account_id,
            "mailbox": operation.hand_over.mailbox_id,
            "message": operation.hand_over.message_id,
            "number": operation.hand_over.attempt,
            "at": operation.hand_over.at,
        }
        for operation in operations
        for recipient in operation.recipients
    ]
    if rows:
        _HAND_OVER.each(connection, rows)


def _record(connection: Connection, me: int, now: datetime, operations: Sequence[ToRecord]) -> None:
    records = [(operation.event_key, record) for operation in operations for record in operation.records]
    rows = [
        {
            "of_event": event_key,
            "of_recipient": recipient,
            "me": me,
            "how": record.outcome,
            "result": record.result_id,
        }
        for event_key, record in records
        for recipient in record.recipients
    ]
    if not rows:
        return
    bodies = {record.result_id: record.result for _, record in records if record.recipients}
    _insert_result(connection.dialect.name).each(
        connection,
        [
            {"result_id": result_id, "recorded_at": now, "body": compressed(body)}
            for result_id, body in sorted(bodies.items())
        ],
    )
    _RECORD.each(connection, rows)


@cache
def _insert_result(dialect: str) -> Statement:
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = insert(results).values({column.name: bindparam(column.name) for column in results.c})
    # Equal ids are equal results, and the first one is what others may have seen; it has to outlive this entry too.
    return Statement(
        statement.on_conflict_do_update(
            index_elements=[results.c.result_id], set_={"recorded_at": statement.excluded.recorded_at}
        )
    )

"""Operators' consents to resend uncertain letters, and the entries they free."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, exists, select

from worker.adapters.ledger.operations import State, ToConsent, ToReopen
from worker.adapters.ledger.schema import consents, entries
from worker.adapters.ledger.statements import upsert
from worker.domain.vocabulary import Outcome

_REOPEN = delete(entries).where(
    entries.c.event_key == bindparam("of_event"),
    entries.c.recipient == bindparam("of_recipient"),
    entries.c.state == State.DONE,
    entries.c.outcome == Outcome.UNCERTAIN,
    exists(
        select(1).where(
            consents.c.event_key == entries.c.event_key,
            consents.c.recipient == entries.c.recipient,
            consents.c.up_to_attempt >= entries.c.attempt,
        )
    ),
)


def consent(connection: Connection, now: datetime, operations: Sequence[ToConsent]) -> None:
    """Store consents; a later one for the same recipient covers at least what the previous one covered."""
    new = upsert(connection.dialect.name, consents)
    is_wider = consents.c.up_to_attempt < new.excluded.up_to_attempt
    later = {"up_to_attempt": new.excluded.up_to_attempt, "given_at": new.excluded.given_at}
    statement = new.on_conflict_do_update(index_elements=["event_key", "recipient"], set_=later, where=is_wider)
    rows = [
        {"event_key": key, "recipient": recipient, "up_to_attempt": operation.up_to_attempt, "given_at": now}
        for operation in operations
        for key, recipient in sorted(operation.keys)
    ]
    if rows:
        connection.execute(statement, rows)


def reopen(connection: Connection, operations: Sequence[ToReopen]) -> None:
    """Free entries done as uncertain, regardless of owner; no owner works on them any more, so none needs locking."""
    rows = [
        {"of_event": event_key, "of_recipient": recipient}
        for operation in operations
        for event_key, recipient in sorted(operation.keys)
    ]
    if rows:
        connection.execute(_REOPEN, rows)

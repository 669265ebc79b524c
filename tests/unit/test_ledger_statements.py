"""Statements that go to the driver as they are: the same values, rows and errors as by SQLAlchemy's own way."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, bindparam, create_engine, insert, select, update
from sqlalchemy.exc import DBAPIError

from worker.adapters.ledger.entries import near, near_keys
from worker.adapters.ledger.operations import State
from worker.adapters.ledger.schema import entries, metadata
from worker.adapters.ledger.statements import Statement

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEYS = [(f"{number:032x}", recipient) for number in range(3) for recipient in range(2)]
_CANARY = "nobody-may-read-this@example.net"

_STAND = Statement(
    select(entries.c.event_key, entries.c.recipient, entries.c.state, entries.c.claimed_at).where(near_keys)
)
_HAND_OVER = Statement(
    update(entries)
    .where(entries.c.event_key == bindparam("of_event"), entries.c.state != State.DONE)
    .values(state=State.HANDED_OVER, message_id=bindparam("message"))
)


@pytest.fixture
def blocking() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as connection, connection.begin():
        connection.execute(insert(entries), [_row(*key) for key in KEYS])
        yield connection
    engine.dispose()


def _row(event_key: str, recipient: int) -> dict[str, object]:
    claimed = {"state": State.CLAIMED, "owner": 1, "claimed_at": NOON, "account_id": "acme"}
    return {"event_key": event_key, "recipient": recipient, **claimed}


@pytest.mark.parametrize("count", [1, 2, 6])
def test_rows_are_pythons_values_whatever_the_number_asked_for(blocking: Connection, count: int) -> None:
    found = _STAND.rows(blocking, near(KEYS[:count]))
    assert {(row[0], row[1]) for row in found} >= set(KEYS[:count])
    assert {row[2:] for row in found} == {(State.CLAIMED, NOON)}


def test_constants_of_the_statement_and_values_of_each_turn_are_stored(blocking: Connection) -> None:
    _HAND_OVER.each(blocking, [{"of_event": KEYS[0][0], "message": "<a@x>"}])
    _HAND_OVER.each(blocking, [{"of_event": KEYS[2][0], "message": name} for name in ("<b@x>", "<c@x>")])

    stored = blocking.execute(select(entries.c.state, entries.c.message_id).order_by(entries.c.event_key))
    assert [tuple(row) for row in stored] == [
        (State.HANDED_OVER, "<a@x>"),
        (State.HANDED_OVER, "<a@x>"),
        (State.HANDED_OVER, "<c@x>"),
        (State.HANDED_OVER, "<c@x>"),
        (State.CLAIMED, None),
        (State.CLAIMED, None),
    ]


def test_how_many_rows_were_changed_is_said(blocking: Connection) -> None:
    assert _HAND_OVER.count(blocking, {"of_event": KEYS[0][0], "message": None}) == 2
    assert _HAND_OVER.count(blocking, {"of_event": "f" * 32, "message": None}) == 0


def test_an_error_of_the_driver_is_sqlalchemys_and_tells_no_values(blocking: Connection) -> None:
    again = Statement(insert(entries).values({name: bindparam(name) for name in _row(*KEYS[0])}))
    with pytest.raises(DBAPIError) as caught:
        again.each(blocking, [_row(*KEYS[0]) | {"account_id": _CANARY}])
    assert _CANARY not in str(caught.value)

"""Claims, hands over, records, releases and lists entries. Each function runs inside one transaction."""

import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, delete, select, tuple_, update

from worker.adapters.ledger.operations import Entry, Key, Operation, State, ToClaim, ToHandOver, ToRecord, ToRelease
from worker.adapters.ledger.owners import lock_dead
from worker.adapters.ledger.schema import entries, owners, results
from worker.adapters.ledger.statements import Statement, padded, upsert
from worker.delivery.ledger import Claim, Done, Granted, HandOver, Held, Uncertain
from worker.domain.vocabulary import Outcome
from worker.errors import ForeignEvent, LostClaim, SendasError, Unavailable

# The entries of the parameter `keys`: pairs of event key and recipient.
of_keys = tuple_(entries.c.event_key, entries.c.recipient).in_(bindparam("keys", expanding=True))

# For reading: those entries and perhaps more of the same events. PostgreSQL looks up two plain lists with one index
# scan, while it plans a list of pairs as that many conditions.
near_keys = entries.c.event_key.in_(bindparam("events", expanding=True)) & entries.c.recipient.in_(
    bindparam("recipients", expanding=True)
)


def near(keys: Collection[Key]) -> dict[str, list[Any]]:
    """Parameters of `near_keys`.

    The lists are padded, to keep the number of distinct statements small.
    """
    return {
        "events": padded(sorted({event_key for event_key, _ in keys})),
        "recipients": padded(sorted({recipient for _, recipient in keys})),
    }


def hand_over_of(row: Row[Any]) -> HandOver:
    """The hand-over noted just before the final dot."""
    return HandOver(row.account_id, row.mailbox_id, row.message_id, row.attempt, row.handed_over_at)


def compressed(body: bytes) -> bytes:
    """A result in its stored form. zlib's window and tables are small, like results: clearing large ones costs more."""
    compressor = zlib.compressobj(level=3, wbits=12, memLevel=5)
    return compressor.compress(body) + compressor.flush()


def body_of(compressed: bytes | None) -> bytes | None:
    """The recorded result; None when it is missing or damaged, for example after a partial restore."""
    try:
        return zlib.decompress(compressed or b"")
    except zlib.error:
        return None


_MAX_ROUNDS = 5
_MAX_INSERTED = 1_024  # rows in one statement: databases limit the number of its parameters
_CONTENDED = Unavailable("the ledger's entries change hands faster than they can be read")
_DAMAGED = Unavailable("the ledger has lost the result of a letter that is done: the letter waits, nothing is sent")

_FOREIGN = ForeignEvent("id: an event of another account has the same source and id, and came before")

_LOOK = (
    select(
        entries,
        owners.c.name.label("owner_name"),
        (owners.c.alive_until > bindparam("now")).label("is_alive"),
        results.c.body,
    )
    .select_from(
        entries.outerjoin(owners, owners.c.id == entries.c.owner).outerjoin(
            results, results.c.result_id == entries.c.result_id
        )
    )
    .where(near_keys)
)
_TAKE = (
    update(entries)
    # Matches nothing if a faster claimant changed the owner; RETURNING gives the current state, not an earlier one.
    .where(of_keys, entries.c.owner.is_not_distinct_from(bindparam("previous")))
    .values(owner=bindparam("me"), claimed_at=bindparam("now"))
    .returning(entries)
)


def claim(
    connection: Connection, me: int, now: datetime, operations: Sequence[ToClaim]
) -> dict[ToClaim, dict[int, Claim] | SendasError]:
    """Claim all free entries for all operations together; one operation's error does not affect the others."""
    accounts = {key: operation.account_id for operation in operations for key in operation.keys}
    verdicts = _claim_all(connection, me, now, accounts) if accounts else {}
    return {operation: _answer(operation, verdicts) for operation in operations}


def _answer(operation: ToClaim, verdicts: Mapping[Key, Claim | SendasError]) -> dict[int, Claim] | SendasError:
    claims: dict[int, Claim] = {}
    for recipient in operation.recipients:
        verdict = verdicts.get((operation.event_key, recipient), _CONTENDED)
        if isinstance(verdict, SendasError):
            return type(verdict)(*verdict.args)
        claims[recipient] = verdict
    return claims


def _claim_all(
    connection: Connection, me: int, now: datetime, accounts: Mapping[Key, str]
) -> Mapping[Key, Claim | SendasError]:
    verdicts: dict[Key, Claim | SendasError] = {}
    for _ in range(_MAX_ROUNDS):
        # In key order, so that two owners claiming the same entries cannot deadlock.
        missing = sorted(accounts.keys() - verdicts.keys())
        verdicts |= dict.fromkeys(_insert(connection, me, now, accounts, missing), Granted())
        if existing := accounts.keys() - verdicts.keys():
            verdicts |= _claim_existing(connection, me, now, {key: accounts[key] for key in existing})
        if len(verdicts) == len(accounts):
            return verdicts
        # Since the last read an entry was released, deleted or taken by another owner: read again.
    return verdicts


def _insert(connection: Connection, me: int, now: datetime, accounts: Mapping[Key, str], keys: list[Key]) -> list[Key]:
    inserted: list[Key] = []
    for first in range(0, len(keys), _MAX_INSERTED):
        rows = padded(keys[first : first + _MAX_INSERTED])
        parameters: dict[str, Any] = {"state": State.CLAIMED, "owner": me, "claimed_at": now}
        for number, key in enumerate(rows):
            parameters[f"event_{number}"], parameters[f"recipient_{number}"] = key
            parameters[f"account_{number}"] = accounts[key]
        statement = _insert_new(connection.dialect.name, len(rows))
        inserted += [(event_key, recipient) for event_key, recipient in statement.rows(connection, parameters)]
    return inserted


@cache
def _insert_new(dialect: str, rows: int) -> Statement:
    """One statement for this many rows, possibly with repeats; existing rows are skipped."""
    common = {name: bindparam(name, type_=entries.c[name].type) for name in ("state", "owner", "claimed_at")}
    values = [
        {
            "event_key": bindparam(f"event_{number}", type_=entries.c.event_key.type),
            "recipient": bindparam(f"recipient_{number}", type_=entries.c.recipient.type),
            "account_id": bindparam(f"account_{number}", type_=entries.c.account_id.type),
            **common,
        }
        for number in range(rows)
    ]
    new = upsert(dialect, entries).values(values).on_conflict_do_nothing()
    return Statement(new.returning(entries.c.event_key, entries.c.recipient))


def _claim_existing(
    connection: Connection, me: int, now: datetime, keys: Mapping[Key, str]
) -> Mapping[Key, Claim | SendasError]:
    found = connection.execute(_LOOK, {**near(keys), "now": now})
    seen = {key: row for row in found if (key := (row.event_key, row.recipient)) in keys}
    verdicts = {key: verdict for key, row in seen.items() if (verdict := _verdict(row, me, keys[key]))}
    free: dict[int | None, list[Key]] = {}
    for key, row in seen.items():
        if key not in verdicts:
            free.setdefault(row.owner, []).append(key)
    if free:
        # A deleted row of `ledger_owners` never returns: there is no owner to lock.
        suspects = {row.owner for row in seen.values() if row.owner in free and row.owner_name is not None}
        alive = suspects - lock_dead(connection, suspects, now)
        for owner, theirs in free.items():
            if owner in alive:
                verdicts |= {key: Held(seen[key].owner_name) for key in theirs}
            else:
                verdicts |= _take(connection, me, now, owner, theirs)
    return verdicts


def _take(
    connection: Connection, me: int, now: datetime, previous: int | None, keys: Sequence[Key]
) -> Mapping[Key, Claim]:
    taken = connection.execute(_TAKE, {"keys": keys, "previous": previous, "me": me, "now": now})
    return {(row.event_key, row.recipient): _ours(row) for row in taken}


def _verdict(row: Row[Any], me: int, account_id: str) -> Claim | SendasError | None:
    """The claim's result for the entry in its current state; None: free to take."""
    if row.account_id != account_id:
        return _FOREIGN
    if row.state is State.DONE:
        body = body_of(row.body)
        return _DAMAGED if body is None else Done(row.outcome, row.result_id, body)
    if row.owner == me:
        return _ours(row)
    if row.is_alive:
        return Held(row.owner_name)
    return None


def _ours(row: Row[Any]) -> Claim:
    # Applies to our own hand-overs too: an unrecorded answer is an unknown answer.
    return Uncertain(hand_over_of(row)) if row.state is State.HANDED_OVER else Granted()


_LOST = "the ledger gave this letter to another worker, or it has ended"


class _Stand(NamedTuple):
    """The current state of an entry."""

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
    """Release those of the operations' entries that we own."""
    abandon = _rows_of(me, (operation for operation in operations if operation.keeps_doubt))
    if abandon:
        connection.execute(_FREE, abandon)
        connection.execute(_LEAVE_IN_DOUBT, abandon)
    released = _rows_of(me, (operation for operation in operations if not operation.keeps_doubt))
    if released:
        _RELEASE.each(connection, released)


def _rows_of(me: int, operations: Iterable[ToRelease]) -> list[dict[str, Any]]:
    keys = sorted(key for operation in operations for key in operation.keys)
    return [{"of_event": event_key, "of_recipient": recipient, "me": me} for event_key, recipient in keys]


def advance(
    connection: Connection, me: int, now: datetime, operations: Sequence[ToHandOver | ToRecord]
) -> dict[Operation[Any], LostClaim | None]:
    """Hand over and record; each operation applies completely or not at all.

    The checks still hold at the write, because our row of `ledger_owners` is locked (see `ownership`).
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
    # A repeat of the same record, after the first attempt's outcome was unknown.
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
    statement = upsert(dialect, results).values({column.name: bindparam(column.name) for column in results.c})
    # Equal ids are equal results, and others may have seen the first one; it must outlive this entry too.
    return Statement(
        statement.on_conflict_do_update(
            index_elements=[results.c.result_id], set_={"recorded_at": statement.excluded.recorded_at}
        )
    )


_LIST = (
    select(
        entries,
        owners.c.name.label("owner_name"),
        (owners.c.alive_until > bindparam("now")).label("is_alive"),
        results.c.recorded_at,
    )
    .select_from(
        entries.outerjoin(owners, owners.c.id == entries.c.owner).outerjoin(
            results, results.c.result_id == entries.c.result_id
        )
    )
    .where(entries.c.event_key == bindparam("event"))
    .order_by(entries.c.recipient)
)


def list_entries(connection: Connection, now: datetime, event_key: str) -> list[Entry]:
    """What the ledger knows of an event's recipients."""
    return [_entry(row) for row in connection.execute(_LIST, {"event": event_key, "now": now})]


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        recipient=row.recipient,
        state=row.state,
        account_id=row.account_id,
        owner=row.owner_name,
        is_owner_alive=bool(row.is_alive),
        claimed_at=row.claimed_at,
        hand_over=None if row.handed_over_at is None else hand_over_of(row),
        outcome=row.outcome,
        result_id=row.result_id,
        recorded_at=row.recorded_at,
    )

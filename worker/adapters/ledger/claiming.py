"""Claiming entries: new ones by inserting them, those of the dead by taking them over."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite

from worker.adapters.ledger.entry import State
from worker.adapters.ledger.operations import Key, ToClaim
from worker.adapters.ledger.ownership import lock_dead
from worker.adapters.ledger.rows import body_of, hand_over_of, near, near_keys, of_keys, padded
from worker.adapters.ledger.schema import entries, owners, results
from worker.adapters.ledger.statements import Statement
from worker.delivery.ledger import Claim, Done, Granted, Held, InDoubt
from worker.errors import ForeignEvent, SendasError, Unavailable

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
    # Whoever took it first has changed the owner; the state is the one at this moment, not when it was looked at.
    .where(of_keys, entries.c.owner.is_not_distinct_from(bindparam("previous")))
    .values(owner=bindparam("me"), claimed_at=bindparam("now"))
    .returning(entries)
)


def claim(
    connection: Connection, me: int, now: datetime, operations: Sequence[ToClaim]
) -> dict[ToClaim, dict[int, Claim] | SendasError]:
    """Claim all that is free for all operations together; one that cannot be answered does not cost the others."""
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
        # In the order of the keys, so that two owners that claim the same entries do not wait for each other.
        missing = sorted(accounts.keys() - verdicts.keys())
        verdicts |= dict.fromkeys(_insert(connection, me, now, accounts, missing), Granted())
        if existing := accounts.keys() - verdicts.keys():
            verdicts |= _claim_existing(connection, me, now, {key: accounts[key] for key in existing})
        if len(verdicts) == len(accounts):
            return verdicts
        # Between two looks an entry was released, forgotten or taken by somebody else: look again.
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
    """One statement for so many rows, of which some may be the same: those that are there already are left out."""
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
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
    new = insert(entries).values(values).on_conflict_do_nothing()
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
        # A row of `ledger_owners` that is gone never comes back: there is nobody to lock.
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
    """What the entry is to us as it stands; None: free to take."""
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
    # Also for what we handed over ourselves: that the answer was not recorded means that nobody knows it.
    return InDoubt(hand_over_of(row)) if row.state is State.HANDED_OVER else Granted()

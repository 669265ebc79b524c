"""Writes the history in idempotent batches of records, and deletes old ones."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Insert, bindparam, delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from worker.adapters.addresses.ledger import LedgerAddress
from worker.adapters.history.database import Database, history_database
from worker.adapters.history.migration import migrate
from worker.adapters.history.rows import row_of
from worker.adapters.history.schema import addresses, results
from worker.history.model import Record

TIMEOUT_S = 30.0

_EXPIRED_AT_ONCE = 5_000
_A_MOMENT = timedelta(microseconds=1)
_OLDEST = select(results.c.at).where(results.c.at < bindparam("before")).order_by(results.c.at).limit(1)
_FORGET_ADDRESSES = delete(addresses).where(addresses.c.at < bindparam("until"))
_FORGET_RESULTS = delete(results).where(results.c.at < bindparam("until"))
_ADD_ADDRESSES = insert(addresses)


def _add_results(dialect: Callable[..., Any]) -> Insert:
    adding: Insert = dialect(results).on_conflict_do_nothing(index_elements=["id"])
    return adding.returning(results.c.no, results.c.id)


_ADD_RESULTS = {"sqlite": _add_results(sqlite.insert), "postgresql": _add_results(postgresql.insert)}


class SqlHistoryWriter:
    """Implements `worker.history.port.HistoryWriter`."""

    def __init__(self, database: Database, expired_at_once: int = _EXPIRED_AT_ONCE) -> None:
        self._database = database
        self._expired_at_once = expired_at_once

    @property
    def place(self) -> str:
        """The history's location, for display."""
        return self._database.place

    async def add(self, records: Sequence[Record]) -> int:
        first = {record.id: record for record in reversed(records)}  # of two with the same id
        by_id = dict(sorted(first.items()))  # a fixed order, so that two writers of the same records cannot deadlock
        return await self._database.run(lambda connection: _add(connection, by_id)) if by_id else 0

    async def expire(self, before: datetime) -> int:
        return await self._database.run(lambda connection: _expire(connection, before, self._expired_at_once))

    async def close(self) -> None:
        await self._database.close()


async def open_history_writer(
    address: LedgerAddress, *, timeout_s: float = TIMEOUT_S, expired_at_once: int = _EXPIRED_AT_ONCE
) -> SqlHistoryWriter:
    """Create or migrate the tables, and connect for writing.

    Raises:
        ConfigurationError: the database refuses, or its tables are of a newer version of sendas.
        Unavailable: the database does not answer.
    """
    await migrate(address)
    return SqlHistoryWriter(history_database(address, timeout_s, writes=True), expired_at_once)


def _add(connection: Connection, by_id: dict[str, Record]) -> int:
    adding = _ADD_RESULTS[connection.dialect.name]
    added = connection.execute(adding, [row_of(record) for record in by_id.values()]).all()
    listed = [
        {"address": address, "at": by_id[row.id].at, "no": row.no}
        for row in added
        for address in by_id[row.id].addresses
    ]
    if listed:
        connection.execute(_ADD_ADDRESSES, listed)
    return len(added)


def _expire(connection: Connection, before: datetime, at_once: int) -> int:
    oldest = connection.execute(_OLDEST, {"before": before}).scalar()
    if oldest is None:
        return 0
    last = connection.execute(_OLDEST.offset(at_once), {"before": before}).scalar() or before
    # Records with the same time are all deleted at once, however many: otherwise none would ever be deleted.
    until = {"until": max(last, oldest + _A_MOMENT)}
    connection.execute(_FORGET_ADDRESSES, until)
    return connection.execute(_FORGET_RESULTS, until).rowcount

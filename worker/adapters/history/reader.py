"""Reading the history."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from worker.adapters.addresses.ledger import LedgerAddress
from worker.adapters.history import queries
from worker.adapters.history.database import Database, TookTooLong, Work, history_database
from worker.adapters.history.migration import check
from worker.history.addresses import AddressPolicy
from worker.history.model import MAX_BUCKETS, InvalidSearch, Page, Record, Search

T = TypeVar("T")

TIMEOUT_S = 5.0

_CONNECTIONS = 4


class SqlHistory:
    """Implements `worker.history.port.History`. `addresses` is the policy by which its addresses are stored."""

    def __init__(self, database: Database, addresses: AddressPolicy) -> None:
        self._database = database
        self._addresses = addresses

    async def search(self, search: Search) -> Page:
        if search.accounts is not None and not search.accounts:
            return Page()
        address = None if search.address is None else self._addresses.kept(search.address)
        rows = await self._run(queries.page(search, address))
        return await asyncio.to_thread(queries.as_page, rows, search.limit)  # many rows take a while to unpack

    async def story(self, event_id: str, accounts: frozenset[str] | None = None) -> Sequence[Record]:
        rows = await self._run(queries.story(event_id, accounts))
        return await asyncio.to_thread(queries.as_story, rows)

    async def failures(
        self, since: datetime, until: datetime, bucket_s: int, accounts: frozenset[str] | None = None
    ) -> Mapping[str, Sequence[int]]:
        if bucket_s <= 0:
            raise InvalidSearch("bucket_s: not positive")
        buckets = max(0, -((since - until) // timedelta(seconds=bucket_s)))
        if buckets > MAX_BUCKETS:
            raise InvalidSearch(f"bucket_s: more than {MAX_BUCKETS} buckets in that time")
        return await self._run(queries.failures(since, until, bucket_s, buckets, accounts))

    async def close(self) -> None:
        """Close all connections."""
        await self._database.close()

    async def _run(self, work: Work[T]) -> T:
        try:
            return await self._database.run(work)
        except TookTooLong:
            raise InvalidSearch("the search took too long: add a condition, or give a shorter time") from None


async def open_history(address: LedgerAddress, addresses: AddressPolicy, *, timeout_s: float = TIMEOUT_S) -> SqlHistory:
    """Connect, and check that the tables are those of this version.

    Raises:
        ConfigurationError: the database refuses, or its tables are missing or of another version.
        Unavailable: the database does not answer.
    """
    database = history_database(address, timeout_s, writes=False, connections=_CONNECTIONS)
    try:
        await database.run(check)
    except BaseException:  # any error, also cancellation: leave no connection behind
        await database.close()
        raise
    return SqlHistory(database, addresses)

"""Ports for reading and writing the history; implemented in `worker.adapters.history`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from worker.errors import SendasError
from worker.history.model import Page, Record, Search


class RecordRefused(SendasError):
    """The database permanently refuses one of the records because of its contents."""


class History(Protocol):
    """Reads the history. Every method raises `Unavailable` when the database does not answer in time.

    `accounts` limits what a viewer may see, as in `Search`.
    """

    async def search(self, search: Search) -> Page:
        """Records that match a search, newest first.

        Raises:
            InvalidSearch: the cursor does not come from a page, or the search took too long.
        """

    async def story(self, event_id: str, accounts: frozenset[str] | None = None) -> Sequence[Record]:
        """All records of one event, oldest first; if there are more than 2,000, the latest 2,000."""

    async def failures(
        self, since: datetime, until: datetime, bucket_s: int, accounts: frozenset[str] | None = None
    ) -> Mapping[str, Sequence[int]]:
        """Count the results of types `FAILURES` by reason, in equal buckets starting at `since`.

        Every sequence has one count per bucket that begins before `until`.

        Raises:
            InvalidSearch: `bucket_s` is not positive, or there would be more than 1,000 buckets.
        """


class HistoryWriter(Protocol):
    """Writes the history. Every method raises `Unavailable` when the database does not answer in time."""

    async def add(self, records: Sequence[Record]) -> int:
        """Store all records or none; returns how many were new. A record whose id is already stored changes nothing.

        Raises:
            RecordRefused: one record can never be stored; none was.
        """

    async def expire(self, before: datetime) -> int:
        """Delete a bounded number of records older than `before`; returns how many, 0 when none is left."""

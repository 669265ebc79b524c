"""What reads and writes the history; implemented in `worker.adapters.history`."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from worker.errors import SendasError
from worker.history.model import Page, Record, Search


class RecordRefused(SendasError):
    """The database refuses one of the records for what is in it, and always will."""


class History(Protocol):
    """Reading. Every method raises `Unavailable` when the database does not answer in time.

    `accounts` limits what a viewer may see, as in `Search`.
    """

    async def search(self, search: Search) -> Page:
        """What a search finds, the newest first.

        Raises:
            InvalidSearch: the cursor is not one of a page's, or the search took too long.
        """

    async def story(self, event_id: str, accounts: frozenset[str] | None = None) -> Sequence[Record]:
        """All of one event, the oldest first; of more than 2,000 records, the latest."""

    async def failures(
        self, since: datetime, until: datetime, bucket_s: int, accounts: frozenset[str] | None = None
    ) -> Mapping[str, Sequence[int]]:
        """How many results of `FAILURES` there were for each reason, in equal buckets from `since` on.

        Every sequence has one count for each bucket that begins before `until`.

        Raises:
            InvalidSearch: `bucket_s` is not positive, or there would be more than 1,000 buckets.
        """


class HistoryWriter(Protocol):
    """Writing. Every method raises `Unavailable` when the database does not answer in time."""

    async def add(self, records: Sequence[Record]) -> int:
        """Keep records, all or none of them; returns how many were new. A record whose id is known changes nothing.

        Raises:
            RecordRefused: one of them can never be kept; none was.
        """

    async def expire(self, before: datetime) -> int:
        """Delete some of the records older than `before`, a bounded number; returns how many: 0 when none is left."""

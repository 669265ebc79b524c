"""An in-memory history; passes the same contract suite as the databases."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from worker.errors import Unavailable
from worker.history.addresses import AddressPolicy
from worker.history.model import (
    FAILURES,
    MAX_BUCKETS,
    MAX_STORY,
    InvalidSearch,
    Page,
    Record,
    Search,
    conditions,
    key,
)


class MemoryHistory:
    """Implements `History` and `HistoryWriter`; while `is_away`, every call raises `Unavailable`."""

    def __init__(self, addresses: AddressPolicy | None = None, expired_at_once: int = 1_000) -> None:
        self.is_away = False
        self._addresses = addresses or AddressPolicy()
        self._expired_at_once = expired_at_once
        self._by_id: dict[str, tuple[int, Record]] = {}
        self._last = 0

    async def add(self, records: Sequence[Record]) -> int:
        self._answer()
        new = {record.id: record for record in records if record.id not in self._by_id}
        for record in new.values():
            self._last += 1
            self._by_id[record.id] = (self._last, record)
        return len(new)

    async def expire(self, before: datetime) -> int:
        self._answer()
        old = [record.id for _, record in reversed(self._newest_first()) if record.at < before]
        for record_id in old[: self._expired_at_once]:
            del self._by_id[record_id]
        return min(len(old), self._expired_at_once)

    async def search(self, search: Search) -> Page:
        self._answer()
        address = None if search.address is None else self._addresses.kept(search.address)
        wanted = conditions(search)
        place = None if search.before is None else _place(search.before)
        found = [
            (number, record)
            for number, record in self._newest_first()
            if all(getattr(record, name) == value for name, value in wanted.items())
            and (address is None or address in record.addresses)
            and (search.since is None or record.at >= search.since)
            and (search.until is None or record.at < search.until)
            and _is_seen(record, search.accounts)
            and (place is None or (record.at, number) < place)
        ]
        shown = found[: search.limit]
        more = f"{shown[-1][1].at.isoformat()}/{shown[-1][0]}" if len(found) > len(shown) else None
        return Page(tuple(record for _, record in shown), more)

    async def story(self, event_id: str, accounts: frozenset[str] | None = None) -> Sequence[Record]:
        self._answer()
        of_event = [record for _, record in self._newest_first() if record.event_id == key(event_id)]
        return [record for record in of_event if _is_seen(record, accounts)][:MAX_STORY][::-1]

    async def failures(
        self, since: datetime, until: datetime, bucket_s: int, accounts: frozenset[str] | None = None
    ) -> Mapping[str, Sequence[int]]:
        self._answer()
        if bucket_s <= 0 or (until - since) > MAX_BUCKETS * timedelta(seconds=bucket_s):
            raise InvalidSearch("bucket_s")
        size = timedelta(seconds=bucket_s)
        counts: dict[str, list[int]] = {}
        for _, record in self._newest_first():
            if record.reason and record.type in FAILURES and since <= record.at < until and _is_seen(record, accounts):
                buckets = counts.setdefault(record.reason, [0] * -((since - until) // size))
                buckets[(record.at - since) // size] += 1
        return counts

    def _newest_first(self) -> list[tuple[int, Record]]:
        return sorted(self._by_id.values(), key=lambda entry: (entry[1].at, entry[0]), reverse=True)

    def _answer(self) -> None:
        if self.is_away:
            raise Unavailable("the history is away")


def _is_seen(record: Record, accounts: frozenset[str] | None) -> bool:
    return accounts is None or record.account_id in {key(account) for account in accounts}


def _place(cursor: str) -> tuple[datetime, int]:
    try:
        at, number = cursor.split("/")
        return datetime.fromisoformat(at), int(number)
    except ValueError:
        raise InvalidSearch("before: not the cursor of a page") from None

"""The history's queries as SQL: each condition compares with a bound value, never with inlined text."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    Text,
    func,
    literal,
    select,
    true,
    tuple_,
    type_coerce,
    union_all,
)
from sqlalchemy.dialects import postgresql

from worker.adapters.history.database import Work
from worker.adapters.history.rows import record_of
from worker.adapters.history.schema import addresses, results
from worker.domain.vocabulary import Reason
from worker.history.model import FAILURES, MAX_STORY, InvalidSearch, Page, Record, Search, conditions, key

_CURSOR = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_A_SECOND = 1_000_000
# Each account's newest rows are read from its index and merged; beyond this many, one scan by time is cheaper.
_MERGED_ACCOUNTS = 100

Place = tuple[datetime, int]
"""Where a page ends: time and number of its last row."""


Rows = Sequence[Row[tuple[object, ...]]]
"""Rows of `history_results`, newest first."""


def page(search: Search, address: str | None) -> Work[Rows]:
    """The rows of a search's page, plus one more if there is one; `address` in its stored form."""
    place = _place(search.before)

    def look(connection: Connection) -> Rows:
        return connection.execute(_page_of(search, address, place, connection.dialect.name)).all()

    return look


def as_page(rows: Rows, limit: int) -> Page:
    """Convert the rows to a page."""
    shown = rows[:limit]
    following = _cursor(shown[-1].at, shown[-1].no) if len(rows) > limit else None
    return Page(tuple(map(record_of, shown)), following)


def story(event_id: str, accounts: frozenset[str] | None) -> Work[Rows]:
    """The rows of one event."""
    of_event = _seen_by(accounts)(select(results).where(results.c.event_id == key(event_id)))
    statement = of_event.order_by(results.c.at.desc(), results.c.no.desc()).limit(MAX_STORY)
    return lambda connection: connection.execute(statement).all()


def as_story(rows: Rows) -> list[Record]:
    """Convert the rows to records, oldest first."""
    return [record_of(row) for row in reversed(rows)]


def failures(
    since: datetime, until: datetime, bucket_s: int, buckets: int, accounts: frozenset[str] | None
) -> Work[Mapping[str, Sequence[int]]]:
    """Counts of failures by reason and bucket."""
    at = results.c.at
    bucket = ((type_coerce(at, BigInteger) - _microseconds(since)) // (bucket_s * _A_SECOND)).label("bucket")
    counted = select(results.c.reason, bucket, func.count()).where(
        results.c.reason.in_([reason.value for reason in Reason]),  # so that the index by reason and time applies
        at >= since,
        at < until,
        results.c.type.in_(sorted(FAILURES)),
    )
    statement = _seen_by(accounts)(counted).group_by(results.c.reason, bucket)

    def look(connection: Connection) -> Mapping[str, Sequence[int]]:
        counts: dict[str, list[int]] = {}
        for reason, place, count in connection.execute(statement):
            counts.setdefault(reason, [0] * buckets)[int(place)] = count
        return counts

    return look


def _page_of(search: Search, address: str | None, place: Place | None, dialect: str) -> Select[tuple[object, ...]]:
    found = conditions(search)
    if search.accounts is not None and not found and address is None and len(search.accounts) <= _MERGED_ACCOUNTS:
        merged = _laterally_merged if dialect == "postgresql" else _merged
        return merged(sorted(map(key, search.accounts)), search, place)
    statement: Select[tuple[object, ...]] = select(results)
    at, no = results.c.at, results.c.no
    if address is not None:
        # Ordered by the columns of the address index, so that the index order is the page order.
        at, no = addresses.c.at, addresses.c.no
        statement = statement.join(addresses, addresses.c.no == results.c.no).where(addresses.c.address == address)
    statement = statement.where(*(results.c[name] == value for name, value in found.items()))
    statement = statement.where(*_within(search, at, no, place))
    return _seen_by(search.accounts)(statement).order_by(at.desc(), no.desc()).limit(search.limit + 1)


def _laterally_merged(accounts: list[str], search: Search, place: Place | None) -> Select[tuple[object, ...]]:
    """The newest rows across some accounts: merges the newest rows of each."""
    each = func.unnest(literal(accounts, postgresql.ARRAY(Text))).table_valued("account_id").render_derived(name="seen")
    newest = (
        select(results)
        .where(results.c.account_id == each.c.account_id, *_within(search, results.c.at, results.c.no, place))
        .order_by(results.c.at.desc(), results.c.no.desc())
        .limit(search.limit + 1)
        .lateral("newest")
    )
    merged: Select[tuple[object, ...]] = select(newest).select_from(each.join(newest, true()))
    return merged.order_by(newest.c.at.desc(), newest.c.no.desc()).limit(search.limit + 1)


def _merged(accounts: list[str], search: Search, place: Place | None) -> Select[tuple[object, ...]]:
    """The same for SQLite, which has no LATERAL."""
    newest = [
        select(
            select(results.c.no)
            .where(results.c.account_id == account, *_within(search, results.c.at, results.c.no, place))
            .order_by(results.c.at.desc(), results.c.no.desc())
            .limit(search.limit + 1)
            .subquery()
        )
        for account in accounts
    ]
    of_all = union_all(*newest).subquery()
    return (
        select(results)
        .join(of_all, of_all.c.no == results.c.no)
        .order_by(results.c.at.desc(), results.c.no.desc())
        .limit(search.limit + 1)
    )


def _within(
    search: Search, at: ColumnElement[datetime], no: ColumnElement[int], place: Place | None
) -> list[ColumnElement[bool]]:
    """The time conditions, and the condition that a row follows the previous page."""
    within = []
    if search.since is not None:
        within.append(at >= search.since)
    if search.until is not None:
        within.append(at < search.until)
    if place is not None:
        within.append(tuple_(at, no) < tuple_(literal(place[0], at.type), literal(place[1], no.type)))
    return within


def _seen_by(accounts: frozenset[str] | None) -> Callable[[Select], Select]:  # type: ignore[type-arg]  # of any columns
    """Restricts a query to what the viewer may see."""
    if accounts is None:
        return lambda statement: statement
    return lambda statement: statement.where(results.c.account_id.in_(sorted(map(key, accounts))))


def _cursor(at: datetime, no: int) -> str:
    return f"{_microseconds(at)}-{no}"


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise InvalidSearch("before: not the cursor of a page")
    try:
        return _EPOCH + int(found[1]) * _MICROSECOND, int(found[2])
    except OverflowError:
        raise InvalidSearch("before: not the cursor of a page") from None

"""What every history does: the one in memory, SQLite and a real PostgreSQL pass the same tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.doubles.history import MemoryHistory
from worker.adapters.addresses.ledger import ledger_address
from worker.adapters.history import open_history, open_history_writer
from worker.history.addresses import AddressPolicy
from worker.history.model import InvalidSearch, Record, Search
from worker.history.port import History, HistoryWriter

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
EXPIRED_AT_ONCE = 3


@dataclass
class World:
    """A history, empty at first, and what writes to it."""

    history: History
    writer: HistoryWriter

    async def found(self, **conditions: object) -> list[str]:
        """The ids that a search finds, in the order of the page."""
        page = await self.history.search(Search(**conditions))  # type: ignore[arg-type]  # a test's own words
        return [record.id for record in page.records]


def a_record(name: str = "a", minute: float = 0, **fields: object) -> Record:
    """A sent letter at a minute after noon."""
    usual = {
        "id": name,
        "type": "mail.sent",
        "at": NOON + timedelta(minutes=minute),
        "account_id": "acme",
        "event_id": f"event-{name}",
        "event_type": "comment.created",
        "task_id": "task-1",
        "comment_id": f"comment-{name}",
        "mailbox_id": "box-1",
        "message_id": f"<{name}@acme.example>",
        "addresses": ("anna@customer.example",),
        "reason": None,
        "body": {"attempt": 1, "recipients": [{"address": "Anna@customer.example"}]},
    }
    return Record(**{**usual, **fields})  # type: ignore[arg-type]  # a test's own words


def a_failure(name: str, minute: float, reason: str = "timeout", **fields: object) -> Record:
    return a_record(name, minute, type="mail.deferred", reason=reason, **fields)


class HistoryContract:
    """Run by the classes below."""

    async def test_a_record_is_found_as_it_was_kept(self, world: World) -> None:
        body = {"text": "Привет \ud800 \x00", "numbers": [1, 2.5, None, True], "deep": {"a": [{"b": "c"}]}}
        record = a_record(body=body, at=NOON + timedelta(microseconds=1), addresses=("a@b.example", "ц@b.example"))
        assert await world.writer.add([record]) == 1
        assert (await world.history.search(Search())).records == (record,)
        assert list(await world.history.story("event-a")) == [record]

    async def test_a_record_with_nothing_but_the_needful_is_kept(self, world: World) -> None:
        record = Record("x", "dead_letter.replayed", NOON)
        await world.writer.add([record])
        assert (await world.history.search(Search(type="dead_letter.replayed"))).records == (record,)

    async def test_a_repeated_record_changes_nothing(self, world: World) -> None:
        """If the broker delivers a batch again, also in part and with another time, then each record is there once."""
        first, second = a_record("a"), a_record("b", 1)
        assert await world.writer.add([first]) == 1
        later = replace(first, at=NOON + timedelta(hours=1), addresses=("else@customer.example",), body={})
        assert await world.writer.add([later, second, second]) == 1
        assert (await world.history.search(Search())).records == (second, first)
        assert await world.found(address="else@customer.example") == []

    async def test_nothing_is_added_of_nothing(self, world: World) -> None:
        assert await world.writer.add([]) == 0

    async def test_two_writers_of_the_same_records_keep_each_once(self, world: World) -> None:
        records = [a_record(str(number), number) for number in range(200)]
        added = await asyncio.gather(world.writer.add(records), world.writer.add(records[::-1]))
        assert sum(added) == len(records)
        assert len(await world.found(limit=500)) == len(records)

    @pytest.mark.parametrize(
        "condition",
        [
            {"event_id": "event-b"},
            {"task_id": "task-2"},
            {"comment_id": "comment-b"},
            {"address": "BORIS@Customer.Example"},
            {"mailbox_id": "box-2"},
            {"account_id": "globex"},
            {"message_id": "<b@acme.example>"},
            {"type": "mail.failed"},
            {"reason": "recipient_unknown"},
            {"since": NOON + timedelta(minutes=1)},
            {"accounts": frozenset({"globex", "nothing"})},
        ],
        ids=lambda condition: next(iter(condition)),
    )
    async def test_every_condition_finds_its_records_and_no_others(
        self, world: World, condition: dict[str, object]
    ) -> None:
        other = a_record(
            "b",
            1,
            type="mail.failed",
            account_id="globex",
            task_id="task-2",
            mailbox_id="box-2",
            addresses=("anna@elsewhere.example", "boris@customer.example"),
            reason="recipient_unknown",
        )
        await world.writer.add([a_record("a"), other, a_record("c", -1)])
        assert await world.found(**condition) == ["b"]

    async def test_conditions_hold_together(self, world: World) -> None:
        await world.writer.add([a_record("a"), a_record("b", 1, account_id="globex"), a_failure("c", 2)])
        assert await world.found(task_id="task-1", account_id="acme", type="mail.sent") == ["a"]
        assert await world.found(address="anna@customer.example", reason="timeout") == ["c"]
        assert await world.found(task_id="task-1", account_id="nothing") == []

    async def test_the_end_of_a_time_is_not_in_it(self, world: World) -> None:
        await world.writer.add([a_record("a"), a_record("b", 1), a_record("c", 2)])
        assert await world.found(since=NOON, until=NOON + timedelta(minutes=2)) == ["b", "a"]

    @pytest.mark.parametrize("accounts", [None, frozenset({"acme", "globex"})])
    @pytest.mark.parametrize("address", [None, "anna@customer.example"])
    async def test_pages_follow_each_other_without_gap_or_repeat(
        self, world: World, accounts: frozenset[str] | None, address: str | None
    ) -> None:
        """If records have the same time, and new ones arrive while somebody pages, then each old one is shown once."""
        records = [
            a_record(f"{number:02}", number // 4, account_id=("acme", "globex")[number % 2]) for number in range(20)
        ]
        await world.writer.add(records)
        seen: list[str] = []
        cursor = None
        while True:
            page = await world.history.search(Search(limit=3, before=cursor, accounts=accounts, address=address))
            seen += [record.id for record in page.records]
            await world.writer.add([a_record(f"new-{len(seen)}", 1_000 + len(seen))])
            if (cursor := page.next) is None:
                break
        assert sorted(seen) == [record.id for record in records]
        moments = {record.id: record.at for record in records}
        assert [moments[name] for name in seen] == sorted(moments.values(), reverse=True)

    @pytest.mark.parametrize("limit", [2, 3])
    async def test_the_last_page_says_that_it_is_the_last(self, world: World, limit: int) -> None:
        await world.writer.add([a_record("a"), a_record("b", 1)])
        assert (await world.history.search(Search(limit=limit))).next is None

    @pytest.mark.parametrize("cursor", ["", "1", "-1-1", "1-1'--", "9" * 18 + "-1", "x" * 100_000, "١-1"])
    async def test_a_cursor_that_is_none_is_refused(self, world: World, cursor: str) -> None:
        with pytest.raises(InvalidSearch, match="before"):
            await world.history.search(Search(before=cursor))

    async def test_a_viewer_sees_only_records_of_the_own_accounts(self, world: World) -> None:
        """If a viewer is limited to accounts, then no answer has another's records, nor those of none."""
        await world.writer.add(
            [
                a_failure("a", 0, event_id="e"),
                a_failure("b", 1, event_id="e", account_id="globex"),
                a_failure("c", 2, event_id="e", account_id=None),
            ]
        )
        theirs = frozenset({"globex"})
        for condition in ({}, {"event_id": "e"}, {"address": "anna@customer.example"}, {"type": "mail.deferred"}):
            assert await world.found(accounts=theirs, **condition) == ["b"]
            assert await world.found(accounts=frozenset(), **condition) == []
        assert await world.found(accounts=theirs, account_id="acme") == []
        assert [record.id for record in await world.history.story("e", theirs)] == ["b"]
        assert await world.history.story("e", frozenset()) == []
        hour = (NOON, NOON + timedelta(hours=1), 3_600)
        assert await world.history.failures(*hour, theirs) == {"timeout": [1]}
        assert await world.history.failures(*hour, frozenset()) == {}

    async def test_a_viewer_of_many_accounts_sees_all_of_them(self, world: World) -> None:
        names = [f"account-{number}" for number in range(300)]
        await world.writer.add([a_record(name, number, account_id=name) for number, name in enumerate(names)])
        assert await world.found(accounts=frozenset(names[:250]), limit=300) == names[249::-1]

    async def test_a_story_begins_with_the_oldest(self, world: World) -> None:
        records = [a_record(name, minute, event_id="e") for name, minute in (("c", 3), ("a", 1), ("b", 2))]
        await world.writer.add([*records, a_record("other")])
        assert [record.id for record in await world.history.story("e")] == ["a", "b", "c"]
        assert await world.history.story("nothing") == []

    async def test_failures_are_counted_by_reason_and_bucket(self, world: World) -> None:
        await world.writer.add(
            [
                a_failure("a", -0.01),
                a_failure("b", 0),
                a_failure("c", 9.99),
                a_failure("d", 20, reason="greylisted"),
                a_record("e", 10, type="mail.failed", reason="timeout"),
                a_record("f", 10, type="mailbox.resumed", reason="timeout"),
                a_failure("g", 25),
            ]
        )
        counted = await world.history.failures(NOON, NOON + timedelta(minutes=25), 600)
        assert counted == {"timeout": [2, 1, 0], "greylisted": [0, 0, 1]}

    @pytest.mark.parametrize("bucket_s", [0, -1, 3])
    async def test_too_many_buckets_are_refused(self, world: World, bucket_s: int) -> None:
        with pytest.raises(InvalidSearch, match="bucket_s"):
            await world.history.failures(NOON, NOON + timedelta(hours=1), bucket_s)

    async def test_what_is_old_is_deleted_a_few_at_a_time(self, world: World) -> None:
        await world.writer.add([a_record(str(number), number) for number in range(8)])
        limit = NOON + timedelta(minutes=7)
        deleted = [await world.writer.expire(limit) for _ in range(4)]
        assert deleted == [3, 3, 1, 0]
        assert await world.found() == ["7"]
        assert await world.found(address="anna@customer.example") == ["7"]

    async def test_what_has_one_and_the_same_time_is_deleted_too(self, world: World) -> None:
        await world.writer.add([a_record(str(number)) for number in range(8)])
        while await world.writer.expire(NOON + timedelta(days=1)):
            pass
        assert await world.found() == []

    async def test_a_record_that_was_deleted_can_be_kept_again(self, world: World) -> None:
        await world.writer.add([a_record()])
        assert await world.writer.expire(NOON + timedelta(days=1)) == 1
        assert await world.writer.add([a_record()]) == 1
        assert await world.found(address="anna@customer.example") == ["a"]

    @pytest.mark.parametrize("text", ["' OR 1=1 --", "%", "_", "a\\'b", "\x00", "\ud800", "x" * 100_000, "ё" * 5_000])
    async def test_whatever_is_searched_for_is_only_compared(self, world: World, text: str) -> None:
        """If a search is made of tricks, then it finds what has that very text, and nothing else."""
        await world.writer.add([a_record("a")])
        for name in ("event_id", "task_id", "comment_id", "address", "mailbox_id", "account_id", "message_id", "type"):
            assert await world.found(**{name: text}) == []
        assert await world.found(accounts=frozenset({text})) == []
        assert await world.history.story(text) == []


class TestInMemory(HistoryContract):
    @pytest.fixture
    def world(self) -> World:
        history = MemoryHistory(expired_at_once=EXPIRED_AT_ONCE)
        return World(history, history)


@asynccontextmanager
async def database_world(url: str) -> AsyncIterator[World]:
    address = ledger_address(url)
    writer = await open_history_writer(address, expired_at_once=EXPIRED_AT_ONCE)
    history = await open_history(address, AddressPolicy())
    try:
        yield World(history, writer)
    finally:
        await history.close()
        await writer.close()


class TestInSqlite(HistoryContract):
    @pytest.fixture
    async def world(self, tmp_path: Path) -> AsyncIterator[World]:
        async with database_world(f"sqlite:///{tmp_path / 'history.db'}") as world:
            yield world


class TestInPostgresql(HistoryContract):
    @pytest.fixture
    async def world(self, database_url: str) -> AsyncIterator[World]:
        async with database_world(database_url) as world:
            yield world

"""Keeping batches: what is counted, and that one bad result never stops the others."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from tests.doubles.history import MemoryHistory
from tests.ledger_worlds import HandClock
from worker.domain.vocabulary import ResultType
from worker.errors import Unavailable
from worker.history.addresses import AddressPolicy
from worker.history.keeping import Keeper, Kept
from worker.history.model import Record, Search
from worker.history.port import RecordRefused
from worker.history.reading import read_result
from worker.operations.contract_examples import result_example


def a_result(number: int, **attributes: object) -> bytes:
    document = json.loads(result_example(ResultType.MAIL_SENT).to_json())
    return json.dumps({**document, "id": f"result-{number}", **attributes}).encode()


class Counting:
    """Remembers what it learned."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, int, int]] = []
        self.delays_s: list[float | None] = []

    def kept(self, kept: Kept) -> None:
        self.batches.append((kept.new, kept.known, kept.refused))
        self.delays_s.append(kept.delay_s)


class Choosy(MemoryHistory):
    """Refuses records of an account, as a database refuses a value."""

    async def add(self, records: Sequence[Record]) -> int:
        if any(record.account_id == "refused" for record in records):
            raise RecordRefused("no such value")
        return await super().add(records)


@pytest.fixture
def counting() -> Counting:
    return Counting()


def keeper_of(history: MemoryHistory, counting: Counting) -> Keeper:
    return Keeper(history, AddressPolicy(), HandClock(), counting)


async def ids(history: MemoryHistory) -> set[str]:
    return {record.id for record in (await history.search(Search())).records}


async def test_a_repeated_batch_is_known(counting: Counting) -> None:
    """If the broker delivers a batch once more, then nothing is added, and nothing is refused."""
    history = MemoryHistory()
    keeper = keeper_of(history, counting)
    batch = [a_result(1), a_result(2)]
    assert await keeper.keep(batch) == [None, None]
    assert await keeper.keep([*batch, a_result(3)]) == [None, None, None]
    assert await ids(history) == {"result-1", "result-2", "result-3"}
    assert counting.batches == [(2, 0, 0), (1, 2, 0)]


async def test_what_is_no_result_is_refused_with_a_reason_and_the_rest_is_kept(counting: Counting) -> None:
    history = MemoryHistory()
    problems = await keeper_of(history, counting).keep([a_result(1), b"junk", a_result(2, time="soon"), a_result(3)])
    assert [problem and problem.partition(":")[0] for problem in problems] == [None, "body", "time", None]
    assert await ids(history) == {"result-1", "result-3"}
    assert counting.batches == [(2, 0, 2)]


async def test_a_record_that_the_database_refuses_keeps_out_no_other(counting: Counting) -> None:
    """If one value cannot be stored, then that result is refused alone: the batch must not come round for ever."""
    history = Choosy()
    bad = a_result(2, data={"account_id": "refused"})
    assert await keeper_of(history, counting).keep([a_result(1), bad, a_result(3)]) == [None, "no such value", None]
    assert await ids(history) == {"result-1", "result-3"}


async def test_a_mistake_of_ours_costs_one_result(counting: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(body: bytes, addresses: AddressPolicy, now: datetime) -> Record:
        if b"result-2" in body:
            raise LookupError("a mistake")
        return read_result(body, addresses, now)

    monkeypatch.setattr("worker.history.keeping.read_result", failing)
    history = MemoryHistory()
    assert await keeper_of(history, counting).keep([a_result(1), a_result(2)]) == [None, "LookupError"]
    assert await ids(history) == {"result-1"}


async def test_a_history_that_is_away_settles_nothing(counting: Counting) -> None:
    history = MemoryHistory()
    history.is_away = True
    with pytest.raises(Unavailable):
        await keeper_of(history, counting).keep([a_result(1), b"junk"])
    assert counting.batches == []


async def test_the_delay_is_that_of_the_oldest_new_result(counting: Counting) -> None:
    now = HandClock().now()
    old = (now - timedelta(seconds=90)).astimezone(UTC).isoformat()
    await keeper_of(MemoryHistory(), counting).keep([a_result(1, time=old), a_result(2, time=now.isoformat())])
    [delay_s] = counting.delays_s
    assert delay_s == pytest.approx(90, abs=5)

"""How fast the history answers and writes with many results in it.

    python -m bench.history [--rows 10000000] [--seconds 10] [--database postgresql]

Fills an empty database (ten million rows take about half an hour on two cores, and 17 GB), searches by each key for
values at random, and writes batches of results as they come from the broker. Exit status 1: a search was slower than
100 ms (95th percentile), or writing slower than three times a worker's 500 results a second.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, LargeBinary, TextClause, bindparam, text

from stack import PostgreSQL, private_directory, running
from worker.adapters.addresses.ledger import LedgerAddress, ledger_address
from worker.adapters.clock import SystemClock
from worker.adapters.history import SqlHistory, SqlHistoryWriter, open_history, open_history_writer
from worker.adapters.history.database import history_database
from worker.adapters.history.rows import row_of
from worker.domain.vocabulary import ResultType
from worker.history.addresses import AddressPolicy
from worker.history.keeping import Keeper, Kept
from worker.history.model import Search
from worker.history.reading import read_result
from worker.operations.contract_examples import result_example

ROWS = 10_000_000
SEARCH_MS = 100.0
RESULTS_A_SECOND = 3 * 500
BATCH = 200
SEARCHES = 100
ACCOUNTS, ADDRESSES, DAYS = 2_000, 500_000, 14
CHUNK = 100_000
FILL_S = 3_600.0
RANDOM = random.Random(16)
AN_HOUR = timedelta(hours=1)

# Two results for each event, twenty for each task; accounts as different in size as real ones (the cube of an even
# spread). Multiplying by a prime and taking the rest puts identifiers into an order like that of random ones.
_FILL = """
WITH RECURSIVE numbers(i) AS (SELECT CAST({first} AS BIGINT) UNION ALL SELECT i + 1 FROM numbers WHERE i < {last}),
kept AS (
  SELECT i, (i / 2 * 2654435761) % 1000000007 AS event, (i / 20 * 2654435761) % 1000000007 AS task,
    ((i * 48271) % 1999 * ((i * 48271) % 1999) / 1999 * ((i * 48271) % 1999) / 1999) % {accounts} AS account,
    {start} + i * {step} AS at
  FROM numbers
)
INSERT INTO history_results
  (id, at, type, account_id, event_id, event_type, task_id, comment_id, mailbox_id, message_id, reason, body)
SELECT 'f81d4fae-7dec-81d0-a765-' || ((i * 2654435761) % 1000000000039), at,
  CASE WHEN i % 100 = 0 THEN 'mail.deferred' WHEN i % 2 = 0 THEN 'mail.sent' ELSE 'sent_copy.saved' END,
  'account-' || account, '0f8fad5b-d9cb-469f-a165-' || event, 'comment.created', 'task-' || task, 'comment-' || event,
  'mailbox-' || account || '-' || (i % 3), '<' || event || '.' || (event * 7) || '@account-' || account || '.example>',
  CASE WHEN i % 100 = 0 THEN CASE WHEN i % 200 = 0 THEN 'greylisted' ELSE 'timeout' END END, :body
FROM kept
"""
_FILL_ADDRESSES = """
INSERT INTO history_addresses (address, at, no)
SELECT 'person-' || ((no * 48271) % {addresses}) || '@customer.example', at, no FROM history_results
WHERE at BETWEEN {since} AND {until}
"""


class Nothing:
    """Observes nothing."""

    def kept(self, kept: Kept) -> None:
        """Nothing is done with it."""


@asynccontextmanager
async def database(kind: str) -> AsyncIterator[LedgerAddress]:
    """An empty database that waits for the disk, as a real one does."""
    with private_directory() as directory:
        if kind == "sqlite":
            yield ledger_address(f"sqlite:///{directory / 'history.db'}")
            return
        server = PostgreSQL(Path(directory) / "postgresql")
        async with running(server):
            yield ledger_address(await server.add_database())


_SIZE = {
    "postgresql": "SELECT pg_total_relation_size('history_results') + pg_total_relation_size('history_addresses')",
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
}


async def fill(address: LedgerAddress, rows: int, end: datetime) -> int:
    """Put rows of the last fourteen days into the tables, evenly over the time; gives the bytes that they take."""
    step = int(timedelta(days=DAYS) / timedelta(microseconds=1)) // rows
    start = int(end.timestamp() * 1_000_000) - rows * step
    values = {"accounts": ACCOUNTS, "addresses": ADDRESSES, "start": start, "step": step}
    body = row_of(read_result(a_result(0), AddressPolicy(), end))["body"]
    filling = history_database(address, FILL_S, writes=True)
    try:
        for first in range(1, rows + 1, CHUNK):
            last = min(first + CHUNK - 1, rows)
            values |= {"first": first, "last": last, "since": start + first * step, "until": start + last * step}
            adding = text(_FILL.format(**values)).bindparams(bindparam("body", body, LargeBinary))
            listing = text(_FILL_ADDRESSES.format(**values))

            def add(connection: Connection, adding: TextClause = adding, listing: TextClause = listing) -> None:
                connection.execute(adding)
                connection.execute(listing)

            await filling.run(add)
        await filling.run(lambda connection: connection.execute(text("ANALYZE")))
        return await filling.run(
            lambda connection: int(connection.execute(text(_SIZE[connection.dialect.name])).scalar_one())
        )
    finally:
        await filling.close()


def a_result(number: int) -> bytes:
    """A result as the worker publishes it."""
    document = json.loads(result_example(ResultType.MAIL_SENT).to_json())
    document["id"] = f"0b6d5b0e-0000-8000-8000-{number:012d}"
    document["time"] = datetime.now(UTC).isoformat()
    document["data"] |= {"event_id": f"written-{RANDOM.getrandbits(64)}", "account_id": f"account-{number % ACCOUNTS}"}
    for recipient in document["data"]["recipients"]:
        recipient["address"] = f"person-{RANDOM.randrange(ADDRESSES)}@customer.example"
    return json.dumps(document).encode()


async def questions(history: SqlHistory, end: datetime) -> dict[str, Callable[[], Awaitable[object]]]:
    """What is asked, each for a value that is there, drawn anew for each time."""
    known = [
        record
        for _ in range(20)
        for record in (
            await history.search(Search(until=end - RANDOM.random() * timedelta(days=DAYS), limit=50))
        ).records
    ]

    def by(field: str, name: str | None = None) -> Callable[[], Awaitable[object]]:
        return lambda: history.search(Search(**{name or field: getattr(RANDOM.choice(known), field)}))

    def viewer() -> frozenset[str]:
        return frozenset(f"account-{RANDOM.randrange(ACCOUNTS)}" for _ in range(20))

    return {
        "event": by("event_id"),
        "task": by("task_id"),
        "comment": by("comment_id"),
        "address": lambda: history.search(Search(address=f"person-{RANDOM.randrange(ADDRESSES)}@customer.example")),
        "mailbox": by("mailbox_id"),
        "account": by("account_id"),
        "Message-ID": by("message_id"),
        "reason": lambda: history.search(Search(reason="greylisted")),
        "type": lambda: history.search(Search(type="mail.deferred")),
        "account and reason": lambda: history.search(
            Search(account_id=RANDOM.choice(known).account_id, reason="timeout", since=end - timedelta(days=1))
        ),
        "nothing": lambda: history.search(Search()),
        "nothing, by a viewer of 20 accounts": lambda: history.search(Search(accounts=viewer())),
        "address, by a viewer of 20 accounts": lambda: history.search(
            Search(address=f"person-{RANDOM.randrange(ADDRESSES)}@customer.example", accounts=viewer())
        ),
        "story of an event": lambda: history.story(str(RANDOM.choice(known).event_id)),
        "failures of the last hour": lambda: history.failures(end - AN_HOUR, end, 60),
    }


async def measure_searches(address: LedgerAddress, end: datetime) -> bool:
    """Ask each question many times; True when each is answered fast enough."""
    history = await open_history(address, AddressPolicy(), timeout_s=60)
    is_fast = True
    try:
        for name, ask in (await questions(history, end)).items():
            taken_ms = []
            for _ in range(SEARCHES):
                began = time.perf_counter()
                await ask()
                taken_ms.append((time.perf_counter() - began) * 1_000)
            taken_ms.sort()
            median, late, longest = taken_ms[SEARCHES // 2], taken_ms[SEARCHES * 95 // 100], taken_ms[-1]
            is_fast = is_fast and late <= SEARCH_MS
            print(f"  by {name:<36} median {median:>7.1f} ms   95 % {late:>7.1f} ms   longest {longest:>7.1f} ms")
    finally:
        await history.close()
    return is_fast


async def measure_writing(writer: SqlHistoryWriter, seconds: float) -> float:
    """Keep batches as the consumer does; returns results a second.

    On a busy machine that says little, so the processor's time is printed too.
    """
    keeper = Keeper(writer, AddressPolicy(), SystemClock(), Nothing())
    written, spent_s, processor_s = 0, 0.0, 0.0
    while spent_s < seconds:
        batch = [a_result(written + number) for number in range(BATCH)]
        began, began_processor = time.perf_counter(), time.process_time()
        problems = await keeper.keep(batch)
        spent_s += time.perf_counter() - began
        processor_s += time.process_time() - began_processor
        assert problems == [None] * BATCH, "a result was refused"
        written += BATCH
    load, _, _ = os.getloadavg()
    print(
        f"  writing: {written / spent_s:,.0f} results a second, wanted are {RESULTS_A_SECOND:,}; "
        f"{processor_s / written * 1_000_000:.0f} µs of this process for each; load {load:.0f} of {os.cpu_count()}"
    )
    return written / spent_s


async def main(rows: int, seconds: float, kind: str) -> int:
    async with database(kind) as address:
        writer = await open_history_writer(address)
        try:
            end = datetime.now(UTC)
            began = time.perf_counter()
            size = await fill(address, rows, end)
            spent_s = time.perf_counter() - began
            print(f"{kind}: filled with {rows:,} results in {spent_s:.0f} s; {size / rows:,.0f} bytes each", flush=True)
            is_fast = await measure_searches(address, end)
            rate = await measure_writing(writer, seconds)
        finally:
            await writer.close()
    return 0 if is_fast and rate >= RESULTS_A_SECOND else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.history", description="Measure the history.")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.rows, given.seconds, given.database)))

"""The ledger's databases when things go wrong: hanging, gone, half committed, of another version."""

import asyncio
import os
import signal
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from stack import PostgreSQL
from tests.ledger_worlds import LEASE_S, AnyLedger, HandClock, World, database_world, driver_url, options, sqlite_url
from worker.adapters.ledger import LedgerOptions, migrate, open_ledger
from worker.adapters.ledger.migration import VERSION_TABLE
from worker.adapters.ledger.owners import lock_dead, renew
from worker.adapters.ledger.schema import metadata
from worker.delivery.ledger import Granted, HandOver, Held, Record, Uncertain
from worker.domain.identity import event_key, result_id
from worker.domain.vocabulary import Outcome
from worker.errors import ConfigurationError, LostClaim, Unavailable

EVENT = event_key("/product/comments", "1")
TIMEOUT_S = 0.8


def an_event(number: int) -> str:
    return event_key("/product/comments", str(number))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, database_url: str) -> str:
    """An empty database of either kind."""
    return sqlite_url(tmp_path) if request.param == "sqlite" else database_url


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(driver_url(url))
    try:
        yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def world_of(url: str, timeout_s: float = TIMEOUT_S, **kwargs: Any) -> AsyncIterator[World]:
    await migrate(url)
    world = database_world(url, timeout_s=timeout_s, **kwargs)
    try:
        yield world
    finally:
        await world.end()


@asynccontextmanager
async def hanging(url: str) -> AsyncIterator[None]:
    """Somebody holds the locks that every transaction of the ledger needs."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(make_url(url).database or "", isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")
            connection.close()
    else:
        async with connected(url) as engine, engine.begin() as other:
            await other.execute(text("LOCK TABLE ledger_owners IN ACCESS EXCLUSIVE MODE"))
            yield


class Link:
    """A TCP connection to the database that can be cut, or can swallow the answers."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._writers: list[asyncio.StreamWriter] = []
        self._pumps: set[asyncio.Task[None]] = set()
        self.swallow_when: Callable[[bytes], bool] = lambda _: False
        self.swallowed = asyncio.Event()

    async def start(self, port: int = 0) -> int:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        return int(self._server.sockets[0].getsockname()[1])

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        self._writers += [writer, far_writer]
        is_silent = asyncio.Event()
        for source, sink, is_request in ((reader, far_writer, True), (far_reader, writer, False)):
            task = asyncio.create_task(self._pump(source, sink, is_request, is_silent))
            self._pumps.add(task)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, is_request: bool, is_silent: asyncio.Event
    ) -> None:
        try:
            while data := await source.read(65536):
                if is_request and self.swallow_when(data):
                    is_silent.set()
                    self.swallowed.set()
                if is_request or not is_silent.is_set():
                    sink.write(data)
                    await sink.drain()
        except OSError:
            pass  # cut: the other side learns it below
        finally:
            sink.close()

    async def cut(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._pumps)
        self._writers.clear()
        self._pumps.clear()


@asynccontextmanager
async def linked(url: str) -> AsyncIterator[tuple[Link, str, int]]:
    """A link to the database and the URL that leads through it."""
    parsed = make_url(url)
    link = Link(parsed.port or 5432)
    port = await link.start()
    try:
        yield link, parsed.set(port=port).render_as_string(hide_password=False), port
    finally:
        await link.cut()


async def test_models_and_migrations_agree(url: str) -> None:
    await migrate(url)

    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        return list(compare_metadata(context, metadata))

    async with connected(url) as engine, engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_many_may_migrate_at_the_same_time(url: str) -> None:
    await asyncio.gather(*(migrate(url) for _ in range(4)))
    async with world_of(url) as world:
        assert await (await world.owner()).claim(EVENT, "acme", [0]) == {0: Granted()}


async def test_a_ledger_without_tables_names_the_command(database_url: str) -> None:
    with pytest.raises(ConfigurationError, match="run `sendas ledger migrate`"):
        await open_ledger(database_url, "one", HandClock(), options())


@pytest.mark.parametrize("revision", ["9999_needs_9000", "0000", "of-somebody-else"])
async def test_a_ledger_that_this_version_cannot_work_with_is_refused(url: str, revision: str) -> None:
    await migrate(url)
    async with connected(url) as engine, engine.begin() as connection:
        await connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'"))
    with pytest.raises(ConfigurationError, match="newer version"):
        await open_ledger(url, "one", HandClock(), options())
    with pytest.raises(ConfigurationError, match="newer version"):
        await migrate(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mysql://root:hunter2@db/ledger",
        "postgresql://me:hunter2@db:port-hunter2/ledger",
        "postgresql://me:hunter2@db",
        "postgresql://me:hunter2@db/ledger?password=hunter2",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file.db?hunter2=1&mode=ro",
        "sqlite:////nowhere/ledger.db",
    ],
)
async def test_a_wrong_url_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await open_ledger(url, "one", HandClock(), options())
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


async def test_a_wrong_password_is_named_and_not_shown(postgresql: PostgreSQL) -> None:
    wrong = make_url(postgresql.url).set(password="hunter2").render_as_string(hide_password=False)
    with pytest.raises(ConfigurationError, match="InvalidPassword") as refused:
        await open_ledger(wrong, "one", HandClock(), options())
    assert "hunter2" not in str(refused.value)
    assert "sendas:" not in str(refused.value)


async def test_a_database_that_does_not_exist_is_named(postgresql: PostgreSQL) -> None:
    missing = make_url(postgresql.url).set(database="nowhere").render_as_string(hide_password=False)
    with pytest.raises(ConfigurationError, match="nowhere"):
        await open_ledger(missing, "one", HandClock(), options())


async def test_a_clock_that_differs_from_the_databases_is_refused(database_url: str) -> None:
    """If clocks differ by more than a lease, then a living owner would be taken for dead."""
    await migrate(database_url)
    clock = HandClock()
    clock.advance(-3600)
    with pytest.raises(ConfigurationError, match="clock differs by 3600 s"):
        await open_ledger(database_url, "one", clock, LedgerOptions())


async def test_nobody_there_is_unavailable_within_the_time(database_url: str) -> None:
    async with linked(database_url) as (link, far_url, _):
        await link.cut()
        async with asyncio.timeout(5):
            # On a machine so busy that not even one try fits into the time, that is the reason.
            with pytest.raises(Unavailable, match=r"ConnectionRefusedError|TimeoutError"):
                await open_ledger(far_url, "one", HandClock(), options(timeout_s=TIMEOUT_S))


async def test_a_hanging_database_is_unavailable_within_the_time_and_then_works(url: str) -> None:
    async with world_of(url) as world:
        one = await world.owner()
        await one.claim(EVENT, "acme", [0])
        letter = HandOver("acme", None, "<x@acme.example>", 1, world.clock.now())
        async with hanging(url):
            async with asyncio.timeout(3 * TIMEOUT_S):
                answers = await asyncio.gather(
                    one.claim(EVENT, "acme", [1]),
                    one.hand_over(EVENT, [0], letter),
                    one.record(EVENT, [Record((4,), Outcome.SENT, result_id(EVENT, [4], "sent"), b"")]),
                    one.release(EVENT, [2]),
                    one.abandon(EVENT, [3]),
                    one.keep_alive(),
                    one.expire(),
                    one.entries(EVENT),
                    return_exceptions=True,
                )
            assert {type(answer) for answer in answers} == {Unavailable}
        await one.release(EVENT, [0])  # whether it was noted as handed over is unknown; nothing was sent
        assert await one.claim(EVENT, "acme", [0, 1]) == {0: Granted(), 1: Granted()}


async def test_a_cut_connection_is_opened_again(database_url: str) -> None:
    await migrate(database_url)
    async with linked(database_url) as (link, far_url, port), world_of(far_url) as world:
        one = await world.owner()
        await one.claim(EVENT, "acme", [0])
        await link.cut()
        with pytest.raises(Unavailable) as gone:
            await one.keep_alive()
        assert "sendas:" not in str(gone.value)
        await link.start(port)
        await one.hand_over(EVENT, [0], HandOver("acme", None, "<x@acme.example>", 1, world.clock.now()))


async def test_a_claim_whose_commit_was_not_answered_does_not_block_others(database_url: str) -> None:
    """If the connection dies with the commit, then the claim may be there and nobody works on it: it is let go."""
    await migrate(database_url)
    async with linked(database_url) as (link, far_url, _), world_of(far_url) as far, world_of(database_url) as near:
        one, two = await far.owner("one"), await near.owner("two")
        await one.keep_alive()
        link.swallow_when = lambda data: b"COMMIT;" in data
        with pytest.raises(Unavailable):
            await one.claim(EVENT, "acme", [0])
        assert link.swallowed.is_set()
        assert await two.claim(EVENT, "acme", [0]) == {0: Held("one")}
        link.swallow_when = lambda _: False
        await one.keep_alive()

        assert await two.claim(EVENT, "acme", [0]) == {0: Granted()}


async def test_a_hand_over_whose_commit_was_not_answered_can_be_released(database_url: str) -> None:
    """If it is unknown whether the hand-over was noted, then nothing was sent, and the letter may be tried again."""
    await migrate(database_url)
    async with linked(database_url) as (link, far_url, _), world_of(far_url) as far, world_of(database_url) as near:
        one, two = await far.owner("one"), await near.owner("two")
        await one.claim(EVENT, "acme", [0])
        link.swallow_when = lambda data: b"COMMIT;" in data
        with pytest.raises(Unavailable):
            await one.hand_over(EVENT, [0], HandOver("acme", None, "<x@acme.example>", 1, far.clock.now()))
        link.swallow_when = lambda _: False
        await one.release(EVENT, [0])

        assert await two.claim(EVENT, "acme", [0]) == {0: Granted()}


async def test_a_server_that_restarts_is_found_again(postgresql: PostgreSQL) -> None:
    url = await postgresql.add_database()
    async with world_of(url) as world:
        one = await world.owner()
        await one.claim(EVENT, "acme", [0])
        await postgresql.stop()
        try:
            with pytest.raises(Unavailable):
                await one.keep_alive()
        finally:
            await postgresql.start()
        assert await one.claim(EVENT, "acme", [0]) == {0: Granted()}


async def cancel_in_the_middle(url: str, ledger: AnyLedger, recipients: list[int]) -> None:
    """Cancel a claim that the database is busy with."""
    async with hanging(url):
        task = asyncio.create_task(ledger.claim(EVENT, "acme", recipients))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_cancelled_claim_is_let_go(url: str) -> None:
    async with world_of(url, timeout_s=10) as world:
        one, two = await world.owner("one"), await world.owner("two")
        await one.keep_alive()
        await cancel_in_the_middle(url, one, [0, 1])
        await one.keep_alive()

        assert await two.claim(EVENT, "acme", [0, 1]) == {0: Granted(), 1: Granted()}


async def test_the_cancelled_do_not_disturb_the_others(url: str) -> None:
    async with world_of(url, timeout_s=10) as world:
        one = await world.owner()
        tasks = [asyncio.create_task(one.claim(an_event(number), "acme", [0])) for number in range(60)]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)

        for number, answer in enumerate(answers):
            if number % 3:
                assert answer == {0: Granted()}
            else:
                assert isinstance(answer, asyncio.CancelledError)


class Totals:
    def __init__(self) -> None:
        self.sizes: list[int] = []

    def committed(self, operations: int, seconds: float) -> None:
        assert seconds >= 0
        self.sizes.append(operations)


async def test_concurrent_operations_share_transactions(url: str) -> None:
    totals = Totals()
    async with world_of(url, timeout_s=10, observer=totals) as world:
        one = await world.owner()
        await asyncio.gather(*(one.claim(an_event(number), "acme", [0]) for number in range(100)))

    assert sum(totals.sizes) >= 100
    assert len(totals.sizes) <= 5


async def test_who_stood_still_after_the_hand_over_sends_nothing(url: str) -> None:
    """If the process is suspended between the commit and the final dot, then others may already settle its doubt."""

    class Suspension:
        is_due = False

        def committed(self, operations: int, seconds: float) -> None:
            if self.is_due:
                self.is_due = False
                world.clock.advance(LEASE_S)

    suspension = Suspension()
    async with world_of(url, timeout_s=10, observer=suspension) as world:
        one, two = await world.owner("one"), await world.owner("two")
        await one.claim(EVENT, "acme", [0])
        suspension.is_due = True
        with pytest.raises(LostClaim):
            await one.hand_over(EVENT, [0], HandOver("acme", None, "<x@acme.example>", 1, world.clock.now()))
        assert await two.claim(EVENT, "acme", [0]) == {0: Granted()}


async def test_operations_on_the_same_entry_keep_their_order(url: str) -> None:
    """If a claim, a release and a claim of one entry are asked for at once, then the last one holds."""
    async with world_of(url, timeout_s=10) as world:
        one, two = await world.owner("one"), await world.owner("two")
        await asyncio.gather(
            one.claim(EVENT, "acme", [0]), one.release(EVENT, [0]), one.claim(EVENT, "acme", [0, 1]), one.keep_alive()
        )
        assert await two.claim(EVENT, "acme", [0, 1]) == {0: Held("one"), 1: Held("one")}


async def test_a_lost_result_makes_the_letter_wait(url: str) -> None:
    """If the results were not restored with the entries, then nothing is sent again, and others are not disturbed."""
    async with world_of(url, timeout_s=10) as world, connected(url) as engine:
        one = await world.owner()
        await one.claim(EVENT, "acme", [0])
        await one.record(EVENT, [Record((0,), Outcome.SENT, result_id(EVENT, [0], "sent"), b"x")])
        async with engine.begin() as connection:
            await connection.execute(text("DELETE FROM ledger_results"))
        lost, granted = await asyncio.gather(
            one.claim(EVENT, "acme", [0]), one.claim(an_event(2), "acme", [0]), return_exceptions=True
        )
        assert isinstance(lost, Unavailable)
        assert granted == {0: Granted()}


async def test_recipients_of_one_letter_share_one_result(url: str) -> None:
    async with world_of(url, timeout_s=10) as world, connected(url) as engine:
        one = await world.owner()
        recipients = tuple(range(50))
        await one.claim(EVENT, "acme", recipients)
        record = Record(recipients, Outcome.SENT, result_id(EVENT, recipients, "sent"), b'{"why": 1}' * 1000)
        await one.record(EVENT, [record])
        async with engine.connect() as connection:
            [size] = (await connection.execute(text("SELECT length(body) FROM ledger_results"))).scalars()
        assert size < 200


def modes_in(directory: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


async def test_a_sqlite_file_is_for_its_user_only(tmp_path: Path) -> None:
    async with world_of(sqlite_url(tmp_path)) as world:
        await (await world.owner()).claim(EVENT, "acme", [0])
        modes = modes_in(tmp_path)
    assert modes.keys() >= {"ledger.db", "ledger.db-wal"}
    assert set(modes.values()) == {0o600}


_KILLED = """
import asyncio, sys
from tests.integration.test_ledger_database import EVENT
from tests.ledger_worlds import HandClock, options
from worker.adapters.ledger import open_ledger
from worker.delivery.ledger import HandOver

async def main():
    clock = HandClock()
    ledger = await open_ledger(sys.argv[1], "killed", clock, options())
    await ledger.claim(EVENT, "acme", [0, 1])
    await ledger.hand_over(EVENT, [0], HandOver("acme", None, "<x@acme.example>", 1, clock.now()))
    print("handed over", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_what_a_killed_process_handed_over_is_in_doubt(url: str) -> None:
    """If a worker is killed between the hand-over and the answer, then another process on the host knows it."""
    async with world_of(url, timeout_s=10) as world:
        two = await world.owner("two")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _KILLED, url, stdout=asyncio.subprocess.PIPE, env=dict(os.environ)
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"handed over\n"
        held = await two.claim(EVENT, "acme", [0, 1])
        process.send_signal(signal.SIGKILL)
        await process.wait()
        world.clock.advance(LEASE_S * 2)
        claims = await two.claim(EVENT, "acme", [0, 1])

        assert held == {0: Held("killed"), 1: Held("killed")}
        assert isinstance(claims[0], Uncertain)
        assert claims[0].hand_over.message_id == "<x@acme.example>"
        assert claims[1] == Granted()


async def test_who_cannot_be_told_apart_by_name_is_by_id(url: str) -> None:
    """If two processes bear the same name, then they are still two owners."""
    async with world_of(url, timeout_s=10) as world:
        one, namesake = await world.owner("same"), await world.owner("same")
        await one.claim(EVENT, "acme", [0])
        assert await namesake.claim(EVENT, "acme", [0]) == {0: Held("same")}
        with pytest.raises(LostClaim):
            await namesake.record(EVENT, [Record((0,), Outcome.SENT, result_id(EVENT, [0], "sent"), b"")])


async def test_only_who_is_dead_and_not_just_writing_can_be_locked(database_url: str) -> None:
    """If an owner comes back while a taker looks at it, then the taker neither takes from it nor waits for it."""
    await migrate(database_url)
    now = HandClock().now()
    until = now + timedelta(seconds=LEASE_S)
    async with connected(database_url) as engine:
        async with engine.begin() as connection:
            alive = await connection.run_sync(renew, None, "alive", now, until)
            dead = await connection.run_sync(renew, None, "dead", now, now)
            returning = await connection.run_sync(renew, None, "returning", now, now)
        async with engine.begin() as of_returning, engine.begin() as of_taker:
            await of_returning.run_sync(renew, returning, "returning", now, until)
            async with asyncio.timeout(5):
                assert await of_taker.run_sync(lock_dead, {alive, dead, returning}, now) == {dead}

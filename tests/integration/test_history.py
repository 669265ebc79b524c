"""The history's consumer on a real broker: nothing lost, nothing twice, nothing looped, and no letter waits for it."""

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, make_url, text

from stack.ports import free_ports
from tests.acceptance.command import running_worker, sendas
from tests.acceptance.gate import Gate
from tests.broker_setting import eventually, running_task
from tests.doubles.history import MemoryHistory
from worker.adapters.addresses.ledger import ledger_address
from worker.adapters.broker.batches import BatchConsumer
from worker.adapters.broker.declaring import apply_topology
from worker.adapters.clock import SystemClock
from worker.adapters.history import migrate, open_history, open_history_writer
from worker.adapters.history.database import history_database
from worker.adapters.history.migration import VERSION_TABLE
from worker.adapters.history.schema import metadata
from worker.domain.topology import Topology
from worker.domain.vocabulary import ResultType
from worker.errors import ConfigurationError
from worker.history.addresses import AddressPolicy
from worker.history.keeping import Keeper, Kept
from worker.history.model import InvalidSearch, Search
from worker.operations.contract_examples import result_example

TOPOLOGY = Topology(has_history=True)
TABLES = frozenset(metadata.tables)


def a_result(number: int) -> bytes:
    document = json.loads(result_example(ResultType.MAIL_SENT).to_json())
    document |= {"id": f"result-{number}", "time": datetime.now(UTC).isoformat()}
    return json.dumps(document).encode()


class Nothing:
    """Observes nothing."""

    def kept(self, kept: Kept) -> None:
        pass


class Setting:
    """The broker with its queues, and a history in memory."""

    def __init__(self, url: str, channel: aio_pika.abc.AbstractChannel) -> None:
        self.url = url
        self.channel = channel
        self.history = MemoryHistory()
        self.waits = 0
        self.handled: list[Sequence[bytes]] = []

    async def publish(self, *bodies: bytes, key: str = "mail.sent") -> None:
        exchange = await self.channel.get_exchange(TOPOLOGY.results_exchange)
        for body in bodies:
            await exchange.publish(aio_pika.Message(body, delivery_mode=2), key)

    async def count(self, queue: str) -> int:
        found = await self.channel.declare_queue(queue, passive=True)
        return found.declaration_result.message_count or 0

    async def kept(self) -> set[str]:
        self_answers = self.history
        was_away, self_answers.is_away = self_answers.is_away, False
        page = await self_answers.search(Search(limit=500))
        self_answers.is_away = was_away
        return {record.id for record in page.records}

    async def keep(self, bodies: Sequence[bytes]) -> Sequence[str | None]:
        self.handled.append(bodies)
        return await Keeper(self.history, AddressPolicy(), SystemClock(), Nothing()).keep(bodies)

    @asynccontextmanager
    async def consuming(self, url: str | None = None, hold_s: float = 600) -> AsyncIterator[BatchConsumer]:
        consumer = BatchConsumer(
            url or self.url,
            TOPOLOGY,
            TOPOLOGY.history,
            self.keep,
            SystemClock(),
            paused=self._pause,
            first_wait_s=0.01,
            hold_s=hold_s,
        )
        async with running_task(consumer.run()):
            await eventually(lambda: consumer.problem() is None)
            yield consumer

    def _pause(self) -> None:
        self.waits += 1


@pytest.fixture
async def setting(vhost_url: str) -> AsyncIterator[Setting]:
    await apply_topology(vhost_url, TOPOLOGY)
    async with await aio_pika.connect(vhost_url) as connection:
        yield Setting(vhost_url, await connection.channel())


async def test_every_published_result_is_kept_once(setting: Setting) -> None:
    """If results are published, repeated ones too, then each is there once, and the queue is empty."""
    bodies = [a_result(number) for number in range(450)]
    await setting.publish(*bodies, *bodies[:50])
    async with setting.consuming():
        await eventually(lambda: _has(setting, 450))
        await eventually(lambda: _is_empty(setting))
    assert len(setting.handled) >= 3, "batches are bounded"
    assert await setting.count(TOPOLOGY.dead) == 0


async def _has(setting: Setting, count: int) -> bool:
    return len(await setting.kept()) == count


async def _is_empty(setting: Setting) -> bool:
    return await setting.count(TOPOLOGY.history) == 0


async def test_a_batch_that_is_delivered_again_changes_nothing(setting: Setting, rabbitmq: Any) -> None:
    """If the connection is lost after the commit and before the acknowledgement, then the batch comes once more."""
    await setting.publish(*(a_result(number) for number in range(20)))
    port = free_ports(1)[0]
    parsed = make_url(setting.url)
    through = parsed.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
    gate = Gate(parsed.port or 5672, port)
    cut = asyncio.Event()
    keep = setting.keep

    async def keep_and_lose(bodies: Sequence[bytes]) -> Sequence[str | None]:
        problems = await keep(bodies)
        if not cut.is_set():
            cut.set()
            await gate.shut()
            await gate.open()
        return problems

    setting.keep = keep_and_lose  # type: ignore[method-assign]  # the connection is lost in the worst moment
    async with gate, setting.consuming(through):
        await eventually(lambda: sum(map(len, setting.handled)) >= 40)
        await eventually(lambda: _is_empty(setting))
    assert len(await setting.kept()) == 20


async def test_while_the_database_is_away_results_wait_and_none_is_lost(setting: Setting) -> None:
    """If the database goes, then the batch is tried again with growing pauses, and publishing is confirmed as ever."""
    setting.history.is_away = True
    async with setting.consuming() as consumer:
        await setting.publish(*(a_result(number) for number in range(10)))
        await eventually(lambda: setting.waits >= 3)
        assert "away" in (consumer.problem() or "")
        await asyncio.wait_for(setting.publish(a_result(10)), timeout=5)
        assert await setting.kept() == set()
        setting.history.is_away = False
        await eventually(lambda: _has(setting, 11))
        await eventually(lambda: consumer.problem() is None)
        await eventually(lambda: _is_empty(setting))


async def test_what_was_held_for_long_goes_back_and_comes_again(setting: Setting) -> None:
    """If the database is away for longer than the broker lets messages be held, then they are taken anew."""
    setting.history.is_away = True
    await setting.publish(*(a_result(number) for number in range(5)))
    async with setting.consuming(hold_s=0.05):
        await eventually(lambda: setting.waits >= 10)
        setting.history.is_away = False
        await eventually(lambda: _has(setting, 5))


async def test_what_is_no_result_goes_to_the_dead_queue_with_the_reason(setting: Setting) -> None:
    """If junk is among results, then it is buried once and not looped, and the results around it are kept."""
    await setting.publish(a_result(1), b"junk\xff", a_result(2))
    async with setting.consuming():
        await eventually(lambda: _has(setting, 2))
        await eventually(lambda: _is_empty(setting))
        dead = await (await setting.channel.get_queue(TOPOLOGY.dead)).get(no_ack=True)
    assert dead.body == b"junk\xff"
    assert dead.headers["sendas-dead-reason"] == "invalid_event"
    assert dead.headers["sendas-dead-detail"] == "body: not JSON"
    assert dead.headers["sendas-dead-queue"] == TOPOLOGY.history
    assert await setting.count(TOPOLOGY.dead) == 0


async def test_a_queue_that_is_deleted_ends_the_consumer_with_what_to_do(setting: Setting) -> None:
    """If somebody deletes the queue, then the process ends and says how to get it back, instead of waiting in vain."""
    async with setting.consuming() as consumer:
        await setting.channel.queue_delete(TOPOLOGY.history)
        with pytest.raises(ConfigurationError, match="run `sendas topology apply`"):
            await asyncio.wait_for(consumer.run(), timeout=30)


async def test_turned_off_nothing_comes_into_the_queue_any_more(setting: Setting) -> None:
    """If the history is turned off and the topology applied, then the queue keeps what it has and gets no more."""
    await setting.publish(a_result(1))
    await apply_topology(setting.url, Topology(has_history=False))
    await setting.publish(a_result(2))
    assert await setting.count(TOPOLOGY.history) == 1
    await apply_topology(setting.url, TOPOLOGY)
    await setting.publish(a_result(3))
    assert await setting.count(TOPOLOGY.history) == 2


async def test_the_process_keeps_and_the_commands_show(setting: Setting, database_url: str) -> None:
    """If the whole process runs on PostgreSQL, then it makes its tables, keeps, is ready, and ends at SIGTERM."""
    settings = {
        "SENDAS_BROKER_URL": setting.url,
        "SENDAS_LEDGER_URL": database_url,
        "SENDAS_HISTORY": "masked",
        "SENDAS_HTTP_PORT": "0",
        "SENDAS_LOG_FORMAT": "json",
    }
    example = json.loads(a_result(1))
    address, event_id = example["data"]["recipients"][0]["address"], example["data"]["event_id"]
    missing = await sendas("history", "show", event_id, settings=settings)
    assert (missing.status, "run `sendas history migrate`" in missing.errors) == (2, True)
    command = ("history", "consume")
    await setting.publish(a_result(1), b"junk")
    async with running_worker(settings, until="history.consuming", command=command, starting="history.starting") as one:
        await eventually(lambda: _is_empty(setting))
        found = await sendas("history", "search", "--address", address, "--json", settings=settings)
        [result] = json.loads(found.output)["results"]
        assert result["id"] == "result-1"
        assert address not in found.output
        shown = await sendas("history", "show", event_id, settings=settings)
        assert (shown.status, address in shown.output) == (0, False)
        assert "mail.sent" in shown.output
        await eventually(lambda: _dead(setting))
        await one.stop()
    nothing = await sendas("history", "search", "--event-id", "nothing", settings=settings)
    assert (nothing.status, nothing.output) == (1, "")


async def _dead(setting: Setting) -> bool:
    return await setting.count(TOPOLOGY.dead) == 1


async def test_the_process_waits_for_its_database(setting: Setting, tmp_path: Path) -> None:
    """If the database is not there at the start, then the process says so, is alive, and ends at SIGTERM."""
    [port] = free_ports(1)
    settings = {
        "SENDAS_BROKER_URL": setting.url,
        "SENDAS_HISTORY": "whole",
        "SENDAS_HISTORY_URL": f"postgresql://u:canary7@127.0.0.1:{port}/x",
        "SENDAS_STATE_DIR": str(tmp_path),
        "SENDAS_HTTP_PORT": "0",
        "SENDAS_LOG_FORMAT": "json",
    }
    command = ("history", "consume")
    async with running_worker(settings, until="history.waiting", command=command, starting="history.starting") as one:
        await one.stop()
        assert "canary7" not in "\n".join(one.lines)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, database_url: str) -> str:
    """An empty database of either kind."""
    return f"sqlite:///{tmp_path / 'history.db'}" if request.param == "sqlite" else database_url


async def test_the_migrations_make_what_the_schema_says(url: str) -> None:
    """If a table is changed, then a migration does the same; at the same time as others', and twice."""
    address = ledger_address(url)
    await asyncio.gather(*(migrate(address) for _ in range(3)))

    def differences(connection: Connection) -> list[Any]:
        options = {"version_table": VERSION_TABLE, "include_name": _is_ours}
        found: list[Any] = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        return found

    database = history_database(address, 10, writes=True)
    assert await database.run(differences) == []
    await database.close()


def _is_ours(name: str | None, kind: str, _: object) -> bool:
    return kind != "table" or name in TABLES


async def test_tables_of_a_newer_version_are_refused(url: str) -> None:
    """If an older version starts on newer tables, then it says so in one line instead of writing what they are not."""
    address = ledger_address(url)
    await migrate(address)
    database = history_database(address, 10, writes=True)
    await database.run(lambda connection: connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")))
    await database.close()
    with pytest.raises(ConfigurationError, match="newer version"):
        await open_history(address, AddressPolicy())
    with pytest.raises(ConfigurationError, match="newer version"):
        await open_history_writer(address)


async def test_history_and_ledger_share_a_database(database_url: str) -> None:
    """If both are in one database, as by default, then each has tables and a version of its own."""
    settings = {"SENDAS_LEDGER_URL": database_url, "SENDAS_HISTORY": "whole"}
    for command in (("ledger", "migrate"), ("history", "migrate"), ("ledger", "migrate"), ("history", "migrate")):
        ended = await sendas(*command, settings=settings)
        assert (ended.status, ended.errors) == (0, "")


async def test_a_file_is_for_its_user_only(tmp_path: Path) -> None:
    """If results are kept in a file, then no other user of the host reads the addresses in it."""
    before = os.umask(0)
    try:
        writer = await open_history_writer(ledger_address(f"sqlite:///{tmp_path / 'history.db'}"))
        await writer.close()
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir(tmp_path)}
    assert modes == {0o600}


async def test_a_search_that_takes_too_long_is_ended(url: str) -> None:
    """If a search would read everything, then it is broken off, and the next one is answered."""
    address = ledger_address(url)
    await migrate(address)
    history = await open_history(address, AddressPolicy(), timeout_s=0.2)
    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000) SELECT max(i) FROM n"
    with pytest.raises(InvalidSearch, match="too long"):
        await history._run(lambda connection: connection.execute(text(slow)).all())
    assert (await history.search(Search())).records == ()
    await history.close()


async def test_a_lost_connection_to_the_database_is_opened_again(database_url: str) -> None:
    """If the server ends all connections, then the next search answers."""
    address = ledger_address(database_url)
    await migrate(address)
    history = await open_history(address, AddressPolicy())
    other = history_database(address, 10, writes=True)
    end = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await other.run(lambda connection: connection.execute(end))
    assert (await history.search(Search())).records == ()
    await other.close()
    await history.close()

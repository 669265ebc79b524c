"""A ledger that was restored as the handbook says remembers what was sent."""

import asyncio
import sqlite3
from pathlib import Path

from stack import PostgreSQL
from stack.postgresql import program
from tests.acceptance.command import running_worker, sendas
from tests.acceptance.office import Office
from worker.adapters.ledger import migrate

EVENTS = 5


async def sent_once(office: Office, ledger_url: str) -> list[str]:
    """Publish the same events to a worker with this ledger; the ids of the results."""
    settings = {**office.settings, "SENDAS_LEDGER_URL": ledger_url}
    async with office.results() as results, running_worker(settings) as worker:
        await office.publish(map(office.event, range(EVENTS)))
        sent = await results.of_type("mail.sent", EVENTS)
        await worker.stop()
    return sorted(result["id"] for result in sent)


async def run(*command: str | Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


async def test_a_dump_of_postgresql_remembers(office: Office, postgresql: PostgreSQL, tmp_path: Path) -> None:
    """If the database is lost and restored from a dump, then the events that it knows give no second letter."""
    url, dump = await postgresql.add_database(), tmp_path / "ledger.dump"
    await migrate(url)
    first = await sent_once(office, url)
    await run(program("pg_dump"), "--format=custom", f"--file={dump}", url)

    restored = await postgresql.add_database()
    await run(program("pg_restore"), "--clean", "--if-exists", "--no-owner", f"--dbname={restored}", dump)
    migrated = await sendas("ledger", "migrate", settings={**office.settings, "SENDAS_LEDGER_URL": restored})
    assert migrated.status == 0
    assert await sent_once(office, restored) == first
    assert await office.subjects_received() == {f"Re: Task {number}": 1 for number in range(EVENTS)}


async def test_a_copy_of_sqlite_that_was_made_while_a_worker_ran_remembers(office: Office, tmp_path: Path) -> None:
    """If the file is lost and its copy takes its place, then the events that it knows give no second letter."""
    ledger, copy = tmp_path / "ledger.db", tmp_path / "copy.db"
    settings = {**office.settings, "SENDAS_LEDGER_URL": f"sqlite:///{ledger}"}
    async with office.results() as results, running_worker(settings) as worker:
        await office.publish(map(office.event, range(EVENTS)))
        await results.of_type("mail.sent", EVENTS)
        connection = sqlite3.connect(ledger)
        connection.execute(f"VACUUM INTO '{copy}'")
        connection.close()
        await worker.stop()

    await sent_once(office, f"sqlite:///{copy}")
    assert await office.subjects_received() == {f"Re: Task {number}": 1 for number in range(EVENTS)}


async def test_a_lost_ledger_without_a_backup_remembers_nothing(office: Office, postgresql: PostgreSQL) -> None:
    """The other side of it, which the handbook warns of: events that are published again are sent again."""
    for _ in range(2):
        empty = await postgresql.add_database()
        await migrate(empty)
        await sent_once(office, empty)
    assert await office.subjects_received() == {f"Re: Task {number}": 2 for number in range(EVENTS)}

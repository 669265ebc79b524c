"""Workers of the version before go on working with a ledger that was migrated, and can still be started."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from tests.contract.test_ledger import LedgerContract
from tests.ledger_worlds import World, database_world, driver_url, sqlite_url
from worker.adapters.ledger import migrate
from worker.adapters.ledger.migration import VERSION_TABLE, alembic_config, oldest_code
from worker.adapters.ledger.schema import metadata

REVISIONS = [each.revision for each in ScriptDirectory.from_config(alembic_config()).walk_revisions()][::-1]
TABLES = ("ledger_owners", "ledger_entries", "ledger_results")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(driver_url(url))
    try:
        async with engine.begin() as connection:
            yield connection
    finally:
        await engine.dispose()


async def migrate_as_a_later_version_would(url: str) -> None:
    """What any migration may do that says nothing of older code: columns, tables and indexes more."""
    await migrate(url)
    async with connected(url) as connection:
        for table in TABLES:
            await connection.execute(text(f"ALTER TABLE {table} ADD COLUMN later TEXT"))
            await connection.execute(text(f"ALTER TABLE {table} ADD COLUMN counted INTEGER NOT NULL DEFAULT 0"))
            await connection.execute(text(f"CREATE INDEX {table}_later ON {table} (later)"))
        await connection.execute(text("CREATE TABLE ledger_later (id INTEGER PRIMARY KEY)"))
        await connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))


class TestSqliteOfALaterVersion(LedgerContract):
    """If a file was migrated by a later version, then this one does all it did before."""

    @pytest.fixture
    async def world(self, tmp_path: Path) -> AsyncIterator[World]:
        await migrate_as_a_later_version_would(sqlite_url(tmp_path))
        world = database_world(sqlite_url(tmp_path))
        yield world
        await world.end()


class TestPostgresqlOfALaterVersion(LedgerContract):
    """If the database was migrated by a later version, then workers of this one start and do all they did before."""

    @pytest.fixture
    async def world(self, database_url: str) -> AsyncIterator[World]:
        await migrate_as_a_later_version_would(database_url)
        world = database_world(database_url)
        yield world
        await world.end()


async def test_an_older_version_does_not_migrate_and_does_not_complain(database_url: str) -> None:
    """If a version is rolled back, then its own Job for the ledger succeeds and leaves the newer tables alone."""
    await migrate_as_a_later_version_would(database_url)
    await migrate(database_url)
    async with connected(database_url) as connection:
        assert (await connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}"))).scalar_one() == "9999"


Seen = dict[str, Any]


def seen(connection: Connection) -> Seen:
    """What statements of a version meet: tables, columns, and what refuses rows."""
    inspector = inspect(connection)
    found: Seen = {}
    for table in inspector.get_table_names():
        if table == VERSION_TABLE:
            continue
        found[table] = {
            "columns": {each["name"]: (str(each["type"]), each["nullable"]) for each in inspector.get_columns(table)},
            "optional": {
                each["name"]
                for each in inspector.get_columns(table)
                if each["nullable"] or each["default"] is not None or each.get("autoincrement") is True
            },
            "refusing": (
                inspector.get_pk_constraint(table)["constrained_columns"],
                sorted(str(each["column_names"]) for each in inspector.get_unique_constraints(table)),
                sorted(str(each["sqltext"]) for each in inspector.get_check_constraints(table)),
                sorted(str(each["constrained_columns"]) for each in inspector.get_foreign_keys(table)),
                sorted(str(each["column_names"]) for each in inspector.get_indexes(table) if each["unique"]),
            ),
        }
    return found


def upgrade_to(revision: str, connection: Connection) -> Seen:
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    return seen(connection)


def breaks(before: Seen, after: Seen) -> list[str]:
    """What code of the revision before would stumble over."""
    found = []
    for table, old in before.items():
        new = after.get(table, {"columns": {}, "optional": set(), "refusing": ()})
        found += [f"{table}.{name}" for name, kind in old["columns"].items() if new["columns"].get(name) != kind]
        found += [f"{table}.{name}" for name in new["columns"].keys() - old["columns"].keys() - new["optional"]]
        found += [f"{table} refuses other rows"] * (new["refusing"] != old["refusing"])
    return found


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_migrations_only_add_what_the_code_before_does_not_meet(
    kind: str, tmp_path: Path, database_url: str
) -> None:
    """If a migration changes what older code reads or writes, then its id says which code it needs."""
    url = sqlite_url(tmp_path) if kind == "sqlite" else database_url
    schemas: dict[str, Seen] = {}
    for revision in REVISIONS:
        async with connected(url) as connection:
            schemas[revision] = await connection.run_sync(partial(upgrade_to, revision))
    assert schemas[REVISIONS[-1]].keys() == metadata.tables.keys()
    for before, after in pairwise(REVISIONS):
        if oldest_code(after) <= int(before[:4]):
            assert breaks(schemas[before], schemas[after]) == [], after


async def test_a_migration_that_breaks_older_code_would_be_found(database_url: str) -> None:
    """If a migration dropped, retyped or demanded a column, then the comparison above would say so."""
    async with connected(database_url) as connection:
        before = await connection.run_sync(partial(upgrade_to, "head"))
        for change in (
            "DROP COLUMN mailbox_id",
            "ALTER COLUMN attempt TYPE TEXT",
            "ADD COLUMN demanded INTEGER NOT NULL",
            "ADD CONSTRAINT one_message UNIQUE (message_id)",
        ):
            await connection.execute(text(f"ALTER TABLE ledger_entries {change}"))
        after = await connection.run_sync(seen)
    assert set(breaks(before, after)) == {
        "ledger_entries.mailbox_id",
        "ledger_entries.attempt",
        "ledger_entries.demanded",
        "ledger_entries refuses other rows",
    }

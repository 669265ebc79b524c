"""Bringing the ledger's schema up to date, and finding out whether it is."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from worker.adapters.ledger.connection import Connected
from worker.adapters.ledger.database import Database
from worker.errors import ConfigurationError

VERSION_TABLE = "ledger_version"

_ADVISORY_LOCK = 0x53454E444153  # "SENDAS"; the number that concurrent migrations of one database agree on


async def migrate(url: str, timeout_s: float = 60) -> None:
    """Create the ledger's tables or bring them up to date; harmless when done twice, also at the same time.

    Raises:
        ConfigurationError: the URL is wrong, or the schema is newer than this version of sendas.
        Unavailable: the database does not answer.
    """
    database = Database(url, timeout_s)
    try:
        await database.connect()
        await database.run(upgrade)
    finally:
        await database.close()


async def upgrade(connection: Connected) -> None:
    """Bring the schema up to date in one transaction, which others that want the same wait for."""
    async with connection.begin():
        if connection.dialect.name == "postgresql":
            await connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _ADVISORY_LOCK})
        await connection.run_sync(_upgrade)


async def check_schema(connection: Connected) -> None:
    """Raises `ConfigurationError` when the schema is not the one that this code works with."""
    async with connection.begin():
        await connection.run_sync(_check)


def _upgrade(connection: Connection) -> None:
    config = _config()
    if _refuse_newer(connection, ScriptDirectory.from_config(config)):
        return
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _check(connection: Connection) -> None:
    if not _refuse_newer(connection, ScriptDirectory.from_config(_config())):
        raise ConfigurationError("the ledger's tables are missing or out of date: run `sendas ledger migrate`")


def _refuse_newer(connection: Connection, scripts: ScriptDirectory) -> bool:
    """Whether the schema is the newest known one. Raises `ConfigurationError` when it is an unknown one."""
    current = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
    known = {script.revision for script in scripts.walk_revisions()}
    if current is not None and current not in known:
        raise ConfigurationError(
            "the ledger's tables are of a newer version of sendas: this one cannot use nor migrate them"
        )
    return current == scripts.get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config

"""Migrates the history's tables; their version is separate from the ledger's, which may share the database."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from worker.adapters.addresses.ledger import LedgerAddress
from worker.adapters.history.database import history_database
from worker.errors import ConfigurationError

VERSION_TABLE = "history_version"

_ADVISORY_LOCK = 0x53454E444148  # "SENDAH"; shared by concurrent migrations of one database
_MIGRATION_S = 600.0


async def migrate(address: LedgerAddress) -> None:
    """Create or migrate the history's tables; idempotent, and safe to run concurrently.

    Raises:
        ConfigurationError: the database refuses, or its tables are of a newer version of sendas.
        Unavailable: the database does not answer.
    """
    database = history_database(address, _MIGRATION_S, writes=True)
    try:
        await database.run(_upgrade)
    finally:
        await database.close()


def _upgrade(connection: Connection) -> None:
    """Migrate the tables within the caller's transaction."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _ADVISORY_LOCK})
    config = _alembic_config()
    if not _is_current(connection, config):
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def check(connection: Connection) -> None:
    """Raises `ConfigurationError` when the tables are not those of this version."""
    if not _is_current(connection, _alembic_config()):
        raise ConfigurationError("the history's tables are missing or out of date: run `sendas history migrate`")


def _is_current(connection: Connection, config: Config) -> bool:
    scripts = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        raise ConfigurationError("the history's tables are of a newer version of sendas, which this one cannot use")
    return current == scripts.get_current_head()


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config

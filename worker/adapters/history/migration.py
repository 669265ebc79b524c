"""Bringing the history's tables up to date; their version is not the ledger's, which may be in the same database."""

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

_ADVISORY_LOCK = 0x53454E444148  # "SENDAH"; the number that concurrent migrations of one database agree on
_MIGRATION_S = 600.0


async def migrate(address: LedgerAddress) -> None:
    """Create the history's tables or bring them up to date; harmless when done twice, also at the same time.

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
    """Bring the tables up to date, within the caller's transaction."""
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

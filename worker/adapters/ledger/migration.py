"""Migrates the ledger's schema, and checks whether it is current.

During a rollout, and after a rollback, workers of the previous version use the newer tables, including workers that
start only then. The revision of the tables says whether they can. Its id is a number, `0007`, when code of every
revision can; `0007_needs_0005` when code of 0005 and later can, and all following revisions repeat that suffix. A
migration that only adds things invisible to older code needs no suffix.
"""

import re
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from worker.adapters.addresses.ledger import Ledger
from worker.adapters.ledger.database import Database
from worker.errors import ConfigurationError

VERSION_TABLE = "ledger_version"

_REVISION = re.compile(r"(?P<number>\d{4})(_needs_(?P<oldest>\d{4}))?")
_FIRST = 1
_ADVISORY_LOCK = 0x53454E444153  # "SENDAS"; shared by concurrent migrations of one database


async def migrate(ledger: Ledger, timeout_s: float = 60) -> None:
    """Create or migrate the ledger's tables; idempotent, and safe to run concurrently.

    Raises:
        ConfigurationError: the URL is wrong, or the schema is a newer one that this version cannot work with.
        Unavailable: the database does not answer.
    """
    database = Database(ledger, timeout_s)
    try:
        await database.connect()
        await database.run(upgrade)
    finally:
        await database.close()


def upgrade(connection: Connection) -> None:
    """Migrate the schema in one transaction; concurrent migrations wait for it."""
    with connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _ADVISORY_LOCK})
        config = alembic_config()
        if _is_usable(connection, ScriptDirectory.from_config(config)):
            return
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def check_schema(connection: Connection) -> None:
    """Raises `ConfigurationError` when this code cannot work with the schema."""
    with connection.begin():
        if not _is_usable(connection, ScriptDirectory.from_config(alembic_config())):
            raise ConfigurationError("the ledger's tables are missing or out of date: run `sendas ledger migrate`")


def oldest_code(revision: str) -> int:
    """The oldest revision whose code works with tables of this one. Raises ValueError for an id that is not ours."""
    found = _REVISION.fullmatch(revision)
    if found is None:
        raise ValueError(f"{revision} is no revision of the ledger's tables")
    return int(found["oldest"] or _FIRST)


def _is_usable(connection: Connection, scripts: ScriptDirectory) -> bool:
    """Whether this code works with the tables as they are: its own revision, or a newer compatible one.

    Raises:
        ConfigurationError: the tables are of a newer, incompatible version.
    """
    current = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
    own = scripts.get_current_head() or ""
    if current is None or current in {script.revision for script in scripts.walk_revisions()}:
        return current == own
    if _lets_work(current, own):
        return True
    raise ConfigurationError(
        "the ledger's tables are of a newer version of sendas: this one cannot use nor migrate them"
    )


def _lets_work(newer: str, own: str) -> bool:
    """Whether tables of a revision unknown to this code are newer and compatible with it."""
    found = _REVISION.fullmatch(newer)
    number = int(own[:4])
    return found is not None and int(found["number"]) > number >= oldest_code(newer)


def alembic_config() -> Config:
    """Alembic's configuration: the location of the migrations."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config

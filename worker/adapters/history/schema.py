"""The history's tables, identical for SQLite and PostgreSQL.

Each query uses one index and reads newest first, so every index over potentially many rows ends in time and number.
Searches compare only these columns; the displayed content is in `body`.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)

from worker.adapters.sql_types import Moment

metadata = MetaData()

# SQLite assigns row numbers only if the key is an INTEGER.
_Number = BigInteger().with_variant(Integer, "sqlite")

results = Table(
    "history_results",
    metadata,
    Column("no", _Number, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("type", Text, nullable=False),
    Column("account_id", Text),
    Column("event_id", Text),
    Column("event_type", Text),
    Column("task_id", Text),
    Column("comment_id", Text),
    Column("mailbox_id", Text),
    Column("message_id", Text),
    Column("reason", Text),
    Column("body", LargeBinary, nullable=False),  # addresses and the result's data: JSON, compressed with zlib
)
Index("history_by_id", results.c.id, unique=True)
Index("history_by_time", results.c.at, results.c.no)
Index("history_by_type", results.c.type, results.c.at, results.c.no)


def _index(name: str, column: Column[str]) -> None:
    """Add an index over the rows with a value in this column."""
    is_there = column.is_not(None)
    Index(
        f"history_by_{name}", column, results.c.at, results.c.no, sqlite_where=is_there, postgresql_where=is_there
    )  # fmt: skip


_index("account", results.c.account_id)
_index("event", results.c.event_id)
_index("task", results.c.task_id)
_index("comment", results.c.comment_id)
_index("mailbox", results.c.mailbox_id)
_index("message", results.c.message_id)
_index("reason", results.c.reason)

addresses = Table(
    "history_addresses",
    metadata,
    Column("address", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("no", BigInteger, nullable=False),
    PrimaryKeyConstraint("address", "at", "no"),
    Index("history_addresses_by_time", "at"),
    sqlite_with_rowid=False,
)

"""The first tables: results, and the addresses in them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SPARSE = ("account_id", "event_id", "task_id", "comment_id", "mailbox_id", "message_id", "reason")


def upgrade() -> None:
    op.create_table(
        "history_results",
        sa.Column("no", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("account_id", sa.Text),
        sa.Column("event_id", sa.Text),
        sa.Column("event_type", sa.Text),
        sa.Column("task_id", sa.Text),
        sa.Column("comment_id", sa.Text),
        sa.Column("mailbox_id", sa.Text),
        sa.Column("message_id", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("history_by_id", "history_results", ["id"], unique=True)
    op.create_index("history_by_time", "history_results", ["at", "no"])
    op.create_index("history_by_type", "history_results", ["type", "at", "no"])
    for column in _SPARSE:
        is_there = sa.column(column).is_not(None)
        op.create_index(
            f"history_by_{column.removesuffix('_id')}",
            "history_results",
            [column, "at", "no"],
            sqlite_where=is_there,
            postgresql_where=is_there,
        )
    op.create_table(
        "history_addresses",
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("no", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("address", "at", "no"),
        sqlite_with_rowid=False,
    )
    op.create_index("history_addresses_by_time", "history_addresses", ["at"])

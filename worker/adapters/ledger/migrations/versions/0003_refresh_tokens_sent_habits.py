"""Rotated refresh tokens, and habits of Sent folders."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mailbox_refresh_tokens",
        sa.Column("grant_key", sa.LargeBinary(32), primary_key=True),
        sa.Column("turn_of", sa.Text),
        sa.Column("turn_until", sa.BigInteger, nullable=False),
        sa.Column("account_id", sa.Text),
        sa.Column("username", sa.Text),
        sa.Column("sealed", sa.Text),
        sa.Column("known", sa.LargeBinary),
        sa.Column("rotated_at", sa.BigInteger),
        sa.Column("told_at", sa.BigInteger),
    )
    op.create_table(
        "mailbox_sent_habits",
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("mailbox_id", sa.Text, nullable=False),
        sa.Column("settings", sa.LargeBinary(32), nullable=False),
        sa.Column("streak", sa.Integer, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "mailbox_id"),
        sqlite_with_rowid=False,
    )

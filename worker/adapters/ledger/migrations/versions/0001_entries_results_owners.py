"""Entries, results and owners."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger_owners",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("alive_until", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "ledger_entries",
        sa.Column("event_key", sa.LargeBinary(16), nullable=False),
        sa.Column("recipient", sa.Integer, nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("owner", sa.Integer),
        sa.Column("claimed_at", sa.BigInteger, nullable=False),
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("mailbox_id", sa.Text),
        sa.Column("message_id", sa.Text),
        sa.Column("attempt", sa.Integer),
        sa.Column("handed_over_at", sa.BigInteger),
        sa.Column("outcome", sa.SmallInteger),
        sa.Column("result_id", sa.LargeBinary(16)),
        sa.PrimaryKeyConstraint("event_key", "recipient"),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 70},
    )
    op.create_index("ledger_entries_by_age", "ledger_entries", ["claimed_at"])
    op.create_table(
        "ledger_results",
        sa.Column("result_id", sa.LargeBinary(16), primary_key=True),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ledger_results_by_age", "ledger_results", ["recorded_at"])

"""What workers share about mailboxes: suspensions, rests, rates, connections; and results still to be published."""

import sqlalchemy as sa
from alembic import op

revision = "0002_mailboxes"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger_mailboxes",
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("mailbox_id", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text),
        sa.Column("snapshot_version", sa.BigInteger),
        sa.Column("touched_at", sa.BigInteger),
        sa.Column("proven_at", sa.BigInteger),
        sa.Column("rests_until", sa.BigInteger),
        sa.Column("rests_for", sa.Text),
        sa.Column("wanted_at", sa.BigInteger),
        sa.Column("wanted_by", sa.Integer),
        sa.Column("resumed_at", sa.BigInteger),
        sa.Column("minute_counts", sa.Text),
        sa.Column("day_counts", sa.Text),
        sa.Column("suspended_at", sa.BigInteger),
        sa.Column("suspended_for", sa.Text),
        sa.Column("suspension", sa.Text),
        sa.PrimaryKeyConstraint("account_id", "mailbox_id"),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 70},
    )
    op.create_index(
        "ledger_mailboxes_suspended",
        "ledger_mailboxes",
        ["suspended_at"],
        sqlite_where=sa.text("suspended_at IS NOT NULL"),
        postgresql_where=sa.text("suspended_at IS NOT NULL"),
    )
    op.create_table(
        "ledger_shares",
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("mailbox_id", sa.Text, nullable=False),
        sa.Column("owner", sa.Integer, nullable=False),
        sa.Column("connections", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "mailbox_id", "owner"),
        sqlite_with_rowid=False,
    )
    op.create_index("ledger_shares_by_owner", "ledger_shares", ["owner"])
    op.create_table(
        "ledger_announcements",
        sa.Column("id", sa.LargeBinary(16), primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )

"""Refused sign-ins at IMAP servers, and how many connections a server lets a mailbox have."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Nullable, and not written by older code: workers of the previous version keep using this table.
    op.add_column("ledger_mailboxes", sa.Column("imap_refused_of", sa.Text))
    op.add_column("ledger_mailboxes", sa.Column("imap_refused_until", sa.BigInteger))
    op.add_column("ledger_mailboxes", sa.Column("imap_refused_for", sa.Text))
    op.add_column("ledger_mailboxes", sa.Column("cap_connections", sa.Integer))
    op.add_column("ledger_mailboxes", sa.Column("cap_since", sa.BigInteger))

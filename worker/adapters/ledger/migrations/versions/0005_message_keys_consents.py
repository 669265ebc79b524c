"""The key that workers know their own messages by, and operators' consents to send uncertain letters again."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger_keys",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("key", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "ledger_consents",
        sa.Column("event_key", sa.LargeBinary(16), nullable=False),
        sa.Column("recipient", sa.Integer, nullable=False),
        sa.Column("up_to_attempt", sa.Integer, nullable=False),
        sa.Column("given_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("event_key", "recipient"),
        sqlite_with_rowid=False,
    )

"""The letters that each address was sent lately; an older worker neither counts nor sees them."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger_letters",
        sa.Column("address", sa.LargeBinary(16), primary_key=True),
        sa.Column("newest", sa.Integer, nullable=False),
        sa.Column("letters", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 70},
    )
    op.create_index("ledger_letters_by_age", "ledger_letters", ["newest"])

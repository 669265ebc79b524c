"""The ledger in a database: SQLite or PostgreSQL."""

from worker.adapters.ledger.group_commit import Observer
from worker.adapters.ledger.ledger import LedgerOptions, SqlLedger, open_ledger
from worker.adapters.ledger.migration import migrate
from worker.adapters.ledger.operations import Entry, State

__all__ = [
    "Entry",
    "LedgerOptions",
    "Observer",
    "SqlLedger",
    "State",
    "migrate",
    "open_ledger",
]

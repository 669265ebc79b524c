"""The ledger in a database: SQLite or PostgreSQL."""

from worker.adapters.ledger.entry import Entry, State
from worker.adapters.ledger.group_commit import Observer
from worker.adapters.ledger.migration import migrate
from worker.adapters.ledger.sql import LedgerOptions, SqlLedger, open_ledger

__all__ = [
    "Entry",
    "LedgerOptions",
    "Observer",
    "SqlLedger",
    "State",
    "migrate",
    "open_ledger",
]

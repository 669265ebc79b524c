"""The history in a database: SQLite for one host, PostgreSQL for several."""

from worker.adapters.history.migration import migrate
from worker.adapters.history.reader import SqlHistory, open_history
from worker.adapters.history.writer import SqlHistoryWriter, open_history_writer

__all__ = ["SqlHistory", "SqlHistoryWriter", "migrate", "open_history", "open_history_writer"]

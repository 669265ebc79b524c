"""A ledger for one command: SQLite in a temporary directory, which the command removes."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from worker.adapters.addresses.ledger import LedgerAddress
from worker.adapters.clock import SystemClock
from worker.adapters.ledger import migrate
from worker.adapters.ledger.shared_memory import MailboxMemory, mailbox_memory
from worker.errors import ConfigurationError


@asynccontextmanager
async def temporary_ledger() -> AsyncIterator[LedgerAddress]:
    """An empty ledger, readable by this user only.

    Raises:
        ConfigurationError: no temporary directory is writable.
    """
    try:
        directory = tempfile.TemporaryDirectory(prefix="sendas-ledger-")
    except OSError as error:
        raise ConfigurationError(f"TMPDIR: no directory for temporary files: {error.strerror or error}") from None
    with directory as name:
        path = str(Path(name) / "ledger.db")
        ledger = LedgerAddress(place=path, path=path)
        await migrate(ledger)
        yield ledger


@asynccontextmanager
async def temporary_mailbox_memory() -> AsyncIterator[MailboxMemory]:
    """An empty mailbox state of its own, not shared with workers."""
    async with temporary_ledger() as ledger, mailbox_memory(ledger, SystemClock()) as memory:
        yield memory

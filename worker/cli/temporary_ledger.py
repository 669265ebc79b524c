"""A ledger for the length of one command: SQLite in a directory for temporary files, which the command removes."""

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
        ConfigurationError: there is no directory for temporary files that can be written to.
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
    """What workers share about mailboxes, empty, and shared with nobody."""
    async with temporary_ledger() as ledger, mailbox_memory(ledger, SystemClock()) as memory:
        yield memory

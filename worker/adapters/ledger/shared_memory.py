"""The shared memory's own connection to the ledger's database, so that it never waits for letters, nor they for it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from worker.adapters.addresses.ledger import Ledger
from worker.adapters.ledger.database import Database
from worker.adapters.ledger.refresh_tokens import SqlRefreshTokens
from worker.adapters.ledger.sent_autosave import RecalledSentHabits, SqlSentHabits
from worker.delivery.ports import Clock
from worker.delivery.sent_copy.autosave_detection import SentHabits
from worker.delivery.token_rotation import RefreshTokens

_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class MailboxMemory:
    """Data that workers share about mailboxes; `forget` deletes expired data, and raises `Unavailable`."""

    refresh_tokens: RefreshTokens
    sent_habits: SentHabits
    forget: Callable[[], Awaitable[None]]


@asynccontextmanager
async def mailbox_memory(ledger: Ledger, clock: Clock) -> AsyncIterator[MailboxMemory]:
    """The shared memory in the ledger's database, whose tables must exist at first use.

    Raises:
        ConfigurationError: the URL is not a ledger URL.
    """
    database = Database(ledger, _TIMEOUT_S)
    tokens, habits = SqlRefreshTokens(database, clock), SqlSentHabits(database, clock)

    async def forget() -> None:
        await tokens.forget()
        await habits.forget()

    try:
        yield MailboxMemory(tokens, RecalledSentHabits(habits, clock), forget)
    finally:
        await database.close()

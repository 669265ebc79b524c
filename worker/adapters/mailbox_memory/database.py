"""The memory's connection to the ledger's database: its own, so that it never waits for letters, nor they for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from worker.adapters.addresses.ledger import Ledger
from worker.adapters.ledger.connection import Connected
from worker.adapters.ledger.database import Database
from worker.adapters.mailbox_memory.recalled import RecalledSentHabits
from worker.adapters.mailbox_memory.refresh_tokens import SqlRefreshTokens
from worker.adapters.mailbox_memory.sent_habits import SqlSentHabits
from worker.delivery.ports import Clock
from worker.delivery.refresh_tokens import RefreshTokens
from worker.delivery.sent_copy.autosave_detection import SentHabits
from worker.errors import Unavailable

T = TypeVar("T")

_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class MailboxMemory:
    """What workers share about mailboxes; `forget` drops what is too old, and raises `Unavailable`."""

    refresh_tokens: RefreshTokens
    sent_habits: SentHabits
    forget: Callable[[], Awaitable[None]]


@asynccontextmanager
async def mailbox_memory(ledger: Ledger, clock: Clock) -> AsyncIterator[MailboxMemory]:
    """The memory in the ledger's database, whose tables must be there when it is first used.

    Raises:
        ConfigurationError: the URL is none of a ledger.
    """
    database = Database(ledger, _TIMEOUT_S)

    async def run(work: Callable[[Connected], Awaitable[T]]) -> T:
        async def transaction(connection: Connected) -> T:
            async with connection.begin():
                return await work(connection)

        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await database.run(transaction)
        except TimeoutError:
            raise Unavailable("the ledger's database does not answer in time") from None

    tokens, habits = SqlRefreshTokens(run, clock), SqlSentHabits(run, clock)

    async def forget() -> None:
        await tokens.forget()
        await habits.forget()

    try:
        yield MailboxMemory(tokens, RecalledSentHabits(habits, clock), forget)
    finally:
        await database.close()

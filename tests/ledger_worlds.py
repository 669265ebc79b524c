"""Ledgers of several owners over one store, and a clock that tests move by hand."""

import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import URL, make_url

from tests.doubles.ledger import MemoryLedger, MemoryStore
from worker.adapters.ledger import LedgerOptions, Observer, SqlLedger, migrate, open_ledger
from worker.delivery.ledger import Ledger

LEASE_S = 60.0
RETENTION_S = 24 * 3600.0

AnyLedger = MemoryLedger | SqlLedger
OpenOwner = Callable[[str], Awaitable[AnyLedger]]


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC)
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds


class World:
    """One store, and the owners that were opened on it."""

    def __init__(self, open_owner: OpenOwner, clock: HandClock) -> None:
        self.clock = clock
        self._open_owner = open_owner
        self._opened: list[Ledger] = []

    async def owner(self, name: str = "one") -> AnyLedger:
        """A new owner. One that a test uses no longer counts as crashed: it never says that it is gone."""
        ledger = await self._open_owner(name)
        self._opened.append(ledger)
        return ledger

    async def end(self) -> None:
        for ledger in self._opened:
            await ledger.close()


def options(timeout_s: float = 10) -> LedgerOptions:
    return LedgerOptions(
        lease_s=LEASE_S,
        retention_s=RETENTION_S,
        timeout_s=timeout_s,
        rows_per_expiry=3,
        max_clock_skew_s=math.inf,
    )


def memory_world() -> World:
    clock = HandClock()
    store = MemoryStore()

    async def open_owner(name: str) -> AnyLedger:
        return MemoryLedger(name, clock, LEASE_S, RETENTION_S, store)

    return World(open_owner, clock)


def database_world(url: str, observer: Observer | None = None, timeout_s: float = 10) -> World:
    clock = HandClock()

    async def open_owner(name: str) -> AnyLedger:
        return await open_ledger(url, name, clock, options(timeout_s), observer)

    return World(open_owner, clock)


def driver_url(url: str) -> URL:
    """A ledger's URL with the asynchronous driver that SQLAlchemy is to use."""
    parsed = make_url(url)
    return parsed.set(drivername={"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}[parsed.drivername])


def sqlite_url(directory: Path) -> str:
    return f"sqlite:///{directory / 'ledger.db'}"


async def postgresql_world(url: str) -> World:
    await migrate(url)
    return database_world(url)

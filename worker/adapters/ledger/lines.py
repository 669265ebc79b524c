"""The two ways to a ledger's database: a file of this host's, and a server."""

import asyncio
import math
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from worker.adapters.addresses.ledger import LedgerAddress

T = TypeVar("T")
Work = Callable[[Connection], T]
"""A whole transaction over a blocking connection: SQLite's in a thread of its own, PostgreSQL's in one greenlet."""


class Line(Protocol):
    """An open connection; it serves one caller at a time."""

    @property
    def is_broken(self) -> bool:
        """True when it was found to be of no use any more."""

    async def run(self, work: Work[T]) -> T:
        """Do the work."""

    async def discard(self) -> None:
        """Drop it, in whatever state it is."""

    async def close(self) -> None:
        """Close it in good order."""


class FileLine:
    """SQLite, in a thread of its own: a transaction costs one way there and back, however many statements it has."""

    is_broken = False

    def __init__(self, thread: ThreadPoolExecutor, connection: Connection) -> None:
        self._thread = thread
        self._connection = connection

    @classmethod
    async def open(cls, address: LedgerAddress, timeout_s: float) -> Self:
        """A connection to the file, which is made when it is not there."""
        thread = ThreadPoolExecutor(1, "ledger")
        try:
            loop = asyncio.get_running_loop()
            connection = await loop.run_in_executor(thread, partial(_open_file, address.path or "", timeout_s))
        except BaseException:  # also cancellation: nobody else knows of this thread
            thread.shutdown(wait=False)
            raise
        return cls(thread, connection)

    async def run(self, work: Work[T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._connection)

    async def discard(self) -> None:
        # Behind whatever the thread is still busy with: nobody waits for that.
        self._thread.submit(self._leave)
        self._thread.shutdown(wait=False)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._leave)
        self._thread.shutdown(wait=False)

    def _leave(self) -> None:
        self._connection.close()
        self._connection.engine.dispose()


class NetworkLine:
    """PostgreSQL, on the event loop."""

    def __init__(self, engine: AsyncEngine, connection: AsyncConnection) -> None:
        self._engine = engine
        self._connection = connection

    @classmethod
    async def open(cls, address: LedgerAddress, timeout_s: float) -> Self:
        """A connection to the server."""
        engine = _server_engine(address, await address.ssl(), timeout_s)
        return cls(engine, await engine.connect())

    @property
    def is_broken(self) -> bool:
        return self._connection.invalidated

    async def run(self, work: Work[T]) -> T:
        return await self._connection.run_sync(work)

    async def discard(self) -> None:
        try:
            await self._connection.invalidate()
        finally:
            await self.close()

    async def close(self) -> None:
        await self._connection.close()
        await self._engine.dispose()


# Neither engine has a pool, and no error text of them holds parameters, because letters' results are among them.


def _server_engine(address: LedgerAddress, tls: ssl.SSLContext | str, timeout_s: float) -> AsyncEngine:
    settings = {
        "application_name": "sendas",
        **address.server_settings,
        # A worker that is cut off in the middle of a transaction must not keep its locks.
        "idle_in_transaction_session_timeout": _milliseconds(timeout_s),
        "statement_timeout": _milliseconds(timeout_s),
    }
    longest_s = min(timeout_s / 2, address.connect_timeout_s or math.inf)
    return create_async_engine(
        URL.create("postgresql+asyncpg"),
        poolclass=NullPool,
        hide_parameters=True,
        isolation_level="READ COMMITTED",
        connect_args={**address.arguments, "ssl": tls, "timeout": longest_s, "server_settings": settings},
    )


def _open_file(path: str, timeout_s: float) -> Connection:
    # Results hold addresses: for this user only, and so are the files that SQLite puts beside it.
    Path(path).touch(mode=0o600)
    return _file_engine(path, timeout_s).connect()


def _file_engine(path: str, timeout_s: float) -> Engine:
    engine = create_engine(URL.create("sqlite", database=path), poolclass=NullPool, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: object) -> None:
        connection.isolation_level = None  # sqlite3 shall not begin transactions by itself
        cursor = connection.cursor()
        # Shorter than our own patience: "locked" is an answer, while a hanging connection has to be thrown away.
        cursor.execute(f"PRAGMA busy_timeout = {_milliseconds(timeout_s / 2)}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")  # in WAL mode, NORMAL loses commits when the power fails
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # Takes the write lock at once: one that begins by reading cannot always get it later (SQLITE_BUSY_SNAPSHOT).
        # By the driver alone, as the letters' own statements: see `statements`.
        cursor = connection.connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        cursor.close()

    return engine


def _milliseconds(seconds: float) -> str:
    return str(max(1, int(seconds * 1000)))

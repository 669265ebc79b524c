"""Runs transactions in the history's database, and maps its errors."""

import asyncio
import math
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

import asyncpg  # type: ignore[import-untyped]  # it has none
from sqlalchemy import URL, Connection, StaticPool, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from worker.adapters.addresses.ledger import LedgerAddress
from worker.adapters.network.tls import tls_refusal
from worker.errors import ConfigurationError, Unavailable
from worker.history.port import RecordRefused

T = TypeVar("T")

Work = Callable[[Connection], T]
"""The work of one transaction."""

_SETTING = "SENDAS_HISTORY_URL"
# User, password, missing database, missing permission.
_WRONG_SETTINGS = {"28000", "28P01", "3D000", "42501"}
_WRONG_VALUES = ("22", "23", "54")  # classes: data exception, integrity violation, program limit exceeded
_CANCELLED = "57014"  # by statement_timeout
_ERRORS = (SQLAlchemyError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, sqlite3.Error)
_STEPS_BETWEEN_LOOKS = 10_000
_MAX_WORDS = 200


class TookTooLong(Unavailable):
    """A statement exceeded its time limit, and the database was asked to cancel it."""


class Database(Protocol):
    """Runs transactions one after another (SQLite) or a few at a time (PostgreSQL)."""

    @property
    def place(self) -> str:
        """The database's location, for display; without a password."""

    async def run(self, work: Work[T]) -> T:
        """Do the work in a transaction, committed at its end and rolled back after an error.

        Raises:
            TookTooLong: the work did not end within the timeout.
            RecordRefused: the database refuses a value.
            Unavailable: the database failed.
            ConfigurationError: the database refuses user, password, database, TLS or permission.
        """

    async def close(self) -> None:
        """Close all connections."""


def history_database(address: LedgerAddress, timeout_s: float, *, writes: bool, connections: int = 1) -> Database:
    """The database at an address; connects at the first transaction, and reconnects after a loss."""
    if address.path is not None:
        return _File(address, timeout_s, writes=writes)
    return _Server(address, timeout_s, connections)


class _File:
    """SQLite, in its own thread. A reader never creates a missing file."""

    def __init__(self, address: LedgerAddress, timeout_s: float, *, writes: bool) -> None:
        self.place = address.place
        self._path = Path(address.path or "")
        self._timeout_s = timeout_s
        self._writes = writes
        self._deadline = math.inf
        self._thread = ThreadPoolExecutor(1, "history")
        self._engine = create_engine(
            URL.create("sqlite", database=str(self._path)),
            poolclass=StaticPool,
            connect_args={"timeout": timeout_s / 2, "check_same_thread": False},
            hide_parameters=True,
        )
        event.listen(self._engine, "connect", self._prepare)
        event.listen(self._engine, "begin", self._begin)

    async def run(self, work: Work[T]) -> T:
        if self._writes:
            if not self._path.parent.is_dir():
                raise ConfigurationError(f"{_SETTING}: the directory does not exist: {self._path.parent}")
        elif not self._path.exists():
            raise ConfigurationError(f"{_SETTING}: {self.place}: no history yet: run `sendas history consume`")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transaction, work)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._engine.dispose)
        self._thread.shutdown(wait=False)

    def _transaction(self, work: Work[T]) -> T:
        if self._writes and not self._path.exists():
            # Results hold addresses: readable by this user only, as are the files that SQLite puts beside it.
            self._path.touch(mode=0o600)
        self._deadline = time.monotonic() + self._timeout_s
        try:
            with self._engine.begin() as connection:
                return work(connection)
        except _ERRORS as error:
            raise _meaning(error, self.place) from None

    def _prepare(self, connection: Any, _: object) -> None:
        connection.isolation_level = None  # sqlite3 shall not begin transactions by itself
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL, because the broker redelivers after a host crash only what has not been acknowledged.
        connection.execute("PRAGMA synchronous = FULL")
        connection.set_progress_handler(lambda: time.monotonic() > self._deadline, _STEPS_BETWEEN_LOOKS)

    def _begin(self, connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if self._writes else "BEGIN")


class _Server:
    """PostgreSQL, over a small pool of connections."""

    def __init__(self, address: LedgerAddress, timeout_s: float, connections: int) -> None:
        self.place = address.place
        self._address = address
        self._timeout_s = timeout_s
        self._engine = create_async_engine(
            URL.create("postgresql+asyncpg"),
            async_creator=self._connect,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=timeout_s,
            pool_pre_ping=True,
            hide_parameters=True,
            isolation_level="READ COMMITTED",
        )

    async def run(self, work: Work[T]) -> T:
        try:
            # The server cancels slow statements; only an unresponsive server exceeds this limit.
            async with asyncio.timeout(2 * self._timeout_s), self._engine.begin() as connection:
                return await connection.run_sync(work)
        except (TimeoutError, *_ERRORS) as error:
            raise _meaning(error, self.place) from None

    async def close(self) -> None:
        await self._engine.dispose()

    async def _connect(self, *_: object, **__: object) -> Any:
        milliseconds = str(int(self._timeout_s * 1_000))
        return await asyncpg.connect(
            **self._address.arguments,
            ssl=await self._address.ssl(),
            timeout=min(self._timeout_s / 2, self._address.connect_timeout_s or math.inf),
            server_settings={
                "application_name": "sendas-history",
                **self._address.server_settings,
                "statement_timeout": milliseconds,
                "idle_in_transaction_session_timeout": milliseconds,
            },
        )


def _meaning(error: BaseException, place: str) -> Exception:
    """The exception to raise. Omits the text, which may quote parameters, unless it only names a permission."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    state = getattr(cause, "sqlstate", None)
    cause = cause.__cause__ or cause
    if state == _CANCELLED or (isinstance(cause, sqlite3.OperationalError) and str(cause) == "interrupted"):
        return TookTooLong(f"the history's database at {place} was busy for too long")
    if str(state)[:2] in _WRONG_VALUES or isinstance(cause, ValueError | sqlite3.DataError | sqlite3.IntegrityError):
        return RecordRefused(f"the history's database refuses a value: {type(cause).__name__}")
    refusal = tls_refusal(error)
    if state in _WRONG_SETTINGS or refusal is not None:
        words = refusal or " ".join(str(cause).split())[:_MAX_WORDS]
        return ConfigurationError(f"{_SETTING}: the database at {place} refuses: {words}")
    return Unavailable(f"the history's database at {place} does not answer: {type(cause).__name__}")

"""The connection to the ledger's database: opening it, running work on it, and mapping its errors."""

import asyncio
import math
import sqlite3
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import asyncpg  # type: ignore[import-untyped]  # it has none
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_random_exponential

from worker.adapters.addresses.ledger import Ledger, LedgerAddress, ledger_address
from worker.adapters.network.tls import tls_refusal
from worker.errors import ConfigurationError, Unavailable

T = TypeVar("T")
Work = Callable[[Connection], T]
"""A whole transaction over a blocking connection: SQLite's in its own thread, PostgreSQL's in a greenlet."""

_LONGEST_WAIT_S = 1.0
_ROLLED_BACK_FOR_ANOTHER = {"40001", "40P01"}  # serialization failure, deadlock: the whole transaction may be repeated
# User, password, missing database, missing permission; and from `options`: unknown name, bad value, not an option.
_WRONG_SETTINGS = {"28000", "28P01", "3D000", "42501", "42704", "22023", "42601"}
_NO_TLS = "the server offers no TLS"
_MAX_WORDS = 200
_UNAVAILABLE = (SQLAlchemyError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, sqlite3.Error)


class DatabaseConnection(Protocol):
    """An open connection; it serves one caller at a time."""

    @property
    def is_broken(self) -> bool:
        """True once the connection is known to be unusable."""

    async def run(self, work: Work[T]) -> T:
        """Do the work."""

    async def discard(self) -> None:
        """Drop the connection, whatever its state."""

    async def close(self) -> None:
        """Close the connection cleanly."""


class Database:
    """One connection, reopened after each loss; used by one task at a time."""

    def __init__(self, ledger: Ledger, timeout_s: float) -> None:
        self._address: LedgerAddress = ledger_address(ledger)
        self._timeout_s = timeout_s
        self._idle: DatabaseConnection | None = None
        path = self._address.path
        if path is not None and not Path(path).parent.is_dir():
            raise ConfigurationError(f"the ledger's directory does not exist: {Path(path).parent}")

    @property
    def is_sqlite(self) -> bool:
        return self._address.path is not None

    async def connect(self) -> None:
        """Open the connection.

        Raises:
            Unavailable: the database does not answer.
            ConfigurationError: it refuses user, password, database, TLS or a parameter of the URL; or its certificate
                is not accepted.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                self._idle = await self._open()
        except (TimeoutError, *_UNAVAILABLE) as error:
            if not _may_pass(error):
                raise ConfigurationError(f"SENDAS_LEDGER_URL: {self._refusal(error)}") from None
            raise self._unavailable(error) from None

    async def run(self, work: Work[T]) -> T:
        """Do the work, a whole transaction; repeat it once if it was rolled back in favour of another one.

        Raises:
            Unavailable: the database failed; only the outcome of a commit is then unknown.
        """
        try:
            try:
                return await self._run_once(work)
            except _UNAVAILABLE as error:
                if not _may_be_repeated(error):
                    raise
            again = AsyncRetrying(
                retry=retry_if_exception(_may_be_repeated), stop=stop_after_attempt(2), wait=_jitter(), reraise=True
            )
            return await again(self._run_once, work)
        except (TimeoutError, *_UNAVAILABLE) as error:
            raise self._unavailable(error) from None

    async def transact(self, work: Work[T]) -> T:
        """Do the work in its own transaction, within the timeout. Raises `Unavailable` as `run` does."""

        def transaction(connection: Connection) -> T:
            with connection.begin():
                return work(connection)

        try:
            async with asyncio.timeout(self._timeout_s):
                return await self.run(transaction)
        except TimeoutError:
            raise Unavailable(f"the ledger's database has not answered within {self._timeout_s:g} s") from None

    async def _run_once(self, work: Work[T]) -> T:
        # Taken while in use: if this hangs and is abandoned, the next call opens another.
        connection, self._idle = self._idle, None
        if connection is None or connection.is_broken:
            connection = await self._open()
        is_sound = False
        try:
            outcome = await connection.run(work)
            is_sound = True
            return outcome
        finally:
            if is_sound and self._idle is None:
                self._idle = connection
            else:
                await connection.discard()

    async def close(self) -> None:
        connection, self._idle = self._idle, None
        if connection is not None:
            await connection.close()

    async def _open(self) -> DatabaseConnection:
        give_up = stop_after_delay(self._timeout_s / 2)
        # The last attempt ends before the deadline, so that the error gives its reason and not just a timeout.
        wait = _jitter(longest_s=min(_LONGEST_WAIT_S, self._timeout_s / 4))
        patiently = AsyncRetrying(retry=retry_if_exception(_may_pass), stop=give_up, wait=wait, reraise=True)
        return await patiently(self._open_once)

    async def _open_once(self) -> DatabaseConnection:
        kind = SqliteConnection if self.is_sqlite else PostgresqlConnection
        return await kind.open(self._address, self._timeout_s)

    def _unavailable(self, error: BaseException) -> Unavailable:
        return Unavailable(f"the ledger's database does not answer: {self._why(error)}")

    def _refusal(self, error: BaseException) -> str:
        """The problem in the server's own words: before the first statement they can only concern the sign-in."""
        words = f": {' '.join(str(_cause(error)).split())[:_MAX_WORDS]}" if _sqlstate(error) in _WRONG_SETTINGS else ""
        return f"the database refuses the connection: {self._why(error)}{words}"

    def _why(self, error: BaseException) -> str:
        # The class only, never the text, which may quote parameters (results and addresses) or the URL.
        why = tls_refusal(error) or (_NO_TLS if _is_without_tls(error) else type(_cause(error)).__name__)
        return f"{why} at {self._address.place}"


def _cause(error: BaseException) -> BaseException:
    """The driver's own error."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if cause.__cause__ is not None and not isinstance(cause.__cause__, asyncio.CancelledError):
        return cause.__cause__
    return cause


def _sqlstate(error: BaseException) -> str | None:
    cause = error.orig if isinstance(error, DBAPIError) else error
    state: str | None = getattr(cause, "sqlstate", None)
    return state


def _may_be_repeated(error: BaseException) -> bool:
    return _sqlstate(error) in _ROLLED_BACK_FOR_ANOTHER


def _may_pass(error: BaseException) -> bool:
    if not isinstance(error, (TimeoutError, *_UNAVAILABLE)) or _sqlstate(error) in _WRONG_SETTINGS:
        return False
    return tls_refusal(error) is None and not _is_without_tls(error)


def _is_without_tls(error: BaseException) -> bool:
    """Whether the server reported that it has no TLS; asyncpg has no class for this error."""
    return isinstance(error, ConnectionError) and str(error).endswith("rejected SSL upgrade")


def _jitter(longest_s: float = _LONGEST_WAIT_S) -> wait_random_exponential:
    return wait_random_exponential(multiplier=0.05, max=longest_s)


class SqliteConnection:
    """SQLite, in its own thread: a transaction costs one round trip, however many statements it has."""

    is_broken = False

    def __init__(self, thread: ThreadPoolExecutor, connection: Connection) -> None:
        self._thread = thread
        self._connection = connection

    @classmethod
    async def open(cls, address: LedgerAddress, timeout_s: float) -> Self:
        """A connection to the file, which is created if missing."""
        thread = ThreadPoolExecutor(1, "ledger")
        try:
            loop = asyncio.get_running_loop()
            connection = await loop.run_in_executor(thread, partial(_open_file, address.path or "", timeout_s))
        except BaseException:  # also cancellation: no one else holds a reference to this thread
            thread.shutdown(wait=False)
            raise
        return cls(thread, connection)

    async def run(self, work: Work[T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._connection)

    async def discard(self) -> None:
        # Queued behind whatever the thread is still running, without waiting for it.
        self._thread.submit(self._leave)
        self._thread.shutdown(wait=False)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._leave)
        self._thread.shutdown(wait=False)

    def _leave(self) -> None:
        self._connection.close()
        self._connection.engine.dispose()


class PostgresqlConnection:
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


# Neither engine has a pool, and their error texts hide parameters, because those include letters' results.


def _server_engine(address: LedgerAddress, tls: ssl.SSLContext | str, timeout_s: float) -> AsyncEngine:
    settings = {
        "application_name": "sendas",
        **address.server_settings,
        # A worker cut off in mid-transaction must not keep its locks.
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
    # Results hold addresses: readable by this user only, as are the files that SQLite puts beside it.
    Path(path).touch(mode=0o600)
    return _file_engine(path, timeout_s).connect()


def _file_engine(path: str, timeout_s: float) -> Engine:
    engine = create_engine(URL.create("sqlite", database=path), poolclass=NullPool, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: object) -> None:
        connection.isolation_level = None  # sqlite3 shall not begin transactions by itself
        cursor = connection.cursor()
        # Shorter than our own timeout: "locked" is an answer, while a hanging connection must be discarded.
        cursor.execute(f"PRAGMA busy_timeout = {_milliseconds(timeout_s / 2)}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")  # in WAL mode, NORMAL loses commits when the power fails
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # Takes the write lock at once: one that begins by reading cannot always get it later (SQLITE_BUSY_SNAPSHOT).
        # Through the driver alone, like the letters' own statements: see `statements`.
        cursor = connection.connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        cursor.close()

    return engine


def _milliseconds(seconds: float) -> str:
    return str(max(1, int(seconds * 1000)))

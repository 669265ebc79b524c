"""The connection to the ledger's database: where it is, how it is opened, and what its errors mean."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import asyncpg  # type: ignore[import-untyped]  # it has none
from sqlalchemy import URL, NullPool, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_random_exponential

from worker.errors import ConfigurationError, Unavailable

T = TypeVar("T")

_SHAPE = "the ledger's URL has to look like sqlite:///path/ledger.db or postgresql://user:password@host:5432/database"
_ROLLED_BACK_FOR_ANOTHER = {"40001", "40P01"}  # serialization failure, deadlock: the whole transaction may be repeated
_WRONG_SETTINGS = {"28000", "28P01", "3D000", "42501"}  # user, password, no such database, no right to use it
_UNAVAILABLE = (SQLAlchemyError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, sqlite3.Error)


def parse_url(url: str) -> URL:
    """The ledger's URL with the driver in it.

    Raises:
        ConfigurationError: it is no URL of a database that the ledger can use; the text holds nothing of the URL.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(_SHAPE) from None
    if parsed.drivername == "sqlite" and parsed.database and parsed.database != ":memory:" and not parsed.query:
        return parsed.set(drivername="sqlite+aiosqlite")
    if parsed.drivername in ("postgresql", "postgres") and parsed.host and parsed.database:
        query = dict(parsed.query)
        if "sslmode" in query:
            query["ssl"] = query.pop("sslmode")  # libpq's name and asyncpg's for the same thing
        if unknown := query.keys() - {"ssl"}:
            raise ConfigurationError(f"the ledger's URL has a parameter that is not known: {min(unknown)}")
        return parsed.set(drivername="postgresql+asyncpg", query=query)
    raise ConfigurationError(_SHAPE)


def describe(url: URL) -> str:
    """Where the database is, without user, password and parameters."""
    if url.drivername.startswith("sqlite"):
        return str(url.database)
    return f"{url.host}:{url.port or 5432}/{url.database}"


def create_engine(url: URL, timeout_s: float) -> AsyncEngine:
    """An engine without a pool; no error text of it holds parameters, because letters' results are among them."""
    if url.drivername.startswith("sqlite"):
        return _create_sqlite_engine(url, timeout_s)
    settings = {
        "application_name": "sendas-ledger",
        # A worker that is cut off in the middle of a transaction must not keep its locks.
        "idle_in_transaction_session_timeout": _milliseconds(timeout_s),
        "statement_timeout": _milliseconds(timeout_s),
    }
    return create_async_engine(
        url,
        poolclass=NullPool,
        hide_parameters=True,
        isolation_level="READ COMMITTED",
        connect_args={"timeout": timeout_s / 2, "server_settings": settings},
    )


def _create_sqlite_engine(url: URL, timeout_s: float) -> AsyncEngine:
    path = Path(url.database or "")
    if not path.parent.is_dir():
        raise ConfigurationError(f"the ledger's directory does not exist: {path.parent}")
    engine = create_async_engine(url, poolclass=NullPool, hide_parameters=True)

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _: object) -> None:
        connection.isolation_level = None  # sqlite3 shall not begin transactions by itself
        cursor = connection.cursor()
        # Shorter than our own patience: "locked" is an answer, while a hanging connection has to be thrown away.
        cursor.execute(f"PRAGMA busy_timeout = {_milliseconds(timeout_s / 2)}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")  # in WAL mode, NORMAL loses commits when the power fails
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Any) -> None:
        # Takes the write lock at once: one that begins by reading cannot always get it later (SQLITE_BUSY_SNAPSHOT).
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _milliseconds(seconds: float) -> str:
    return str(max(1, int(seconds * 1000)))


class Database:
    """One connection, opened again whenever it was lost; used by one task at a time."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = parse_url(url)
        self._timeout_s = timeout_s
        self._engine = create_engine(self._url, timeout_s)
        self._idle: AsyncConnection | None = None

    @property
    def is_sqlite(self) -> bool:
        return self._engine.dialect.name == "sqlite"

    async def connect(self) -> None:
        """Open the connection.

        Raises:
            Unavailable: the database does not answer.
            ConfigurationError: it refuses the user, the password or the name of the database.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                self._idle = await self._open()
        except (TimeoutError, *_UNAVAILABLE) as error:
            if _sqlstate(error) in _WRONG_SETTINGS:
                raise ConfigurationError(f"the ledger's database refuses us: {self._why(error)}") from None
            raise self._unavailable(error) from None

    async def run(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Do the work, a whole transaction; once more if it was rolled back in favour of somebody else's.

        Raises:
            Unavailable: the database failed; what is unknown then is only whether a commit was carried out.
        """
        again = AsyncRetrying(
            retry=retry_if_exception(_may_be_repeated), stop=stop_after_attempt(3), wait=_jitter(), reraise=True
        )
        try:
            return await again(self._run_once, work)
        except (TimeoutError, *_UNAVAILABLE) as error:
            raise self._unavailable(error) from None

    async def _run_once(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        # Taken while it is in use: should this hang and be abandoned, the next one opens another.
        connection, self._idle = self._idle, None
        if connection is None or connection.invalidated:
            connection = await self._open()
        is_sound = False
        try:
            outcome = await work(connection)
            is_sound = True
            return outcome
        finally:
            if is_sound and self._idle is None:
                self._idle = connection
            else:
                await _discard(connection)

    async def close(self) -> None:
        connection, self._idle = self._idle, None
        if connection is not None:
            await connection.close()
        await self._engine.dispose()

    async def _open(self) -> AsyncConnection:
        give_up = stop_after_delay(self._timeout_s / 2)
        patiently = AsyncRetrying(retry=retry_if_exception(_may_pass), stop=give_up, wait=_jitter(), reraise=True)
        return await patiently(self._open_once)

    async def _open_once(self) -> AsyncConnection:
        if self.is_sqlite:
            # Results hold addresses: for this user only, and so are the files that SQLite puts beside it.
            await asyncio.to_thread(Path(self._url.database or "").touch, mode=0o600)
        return await self._engine.connect()

    def _unavailable(self, error: BaseException) -> Unavailable:
        return Unavailable(f"the ledger's database does not answer: {self._why(error)}")

    def _why(self, error: BaseException) -> str:
        # The class only, never the text: that may quote parameters, that is results and addresses, or the URL.
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        cause = cause.__cause__ or cause
        return f"{type(cause).__name__} at {describe(self._url)}"


async def _discard(connection: AsyncConnection) -> None:
    try:
        await connection.invalidate()
    finally:
        await connection.close()


def _sqlstate(error: BaseException) -> str | None:
    cause = error.orig if isinstance(error, DBAPIError) else error
    state: str | None = getattr(cause, "sqlstate", None)
    return state


def _may_be_repeated(error: BaseException) -> bool:
    return _sqlstate(error) in _ROLLED_BACK_FOR_ANOTHER


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, (TimeoutError, *_UNAVAILABLE)) and _sqlstate(error) not in _WRONG_SETTINGS


def _jitter() -> wait_random_exponential:
    return wait_random_exponential(multiplier=0.05, max=1)

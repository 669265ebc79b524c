"""The connection to the ledger's database: where it is, how it is opened, and what its errors mean."""

import asyncio
import sqlite3
from pathlib import Path
from typing import TypeVar

import asyncpg  # type: ignore[import-untyped]  # it has none
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_random_exponential

from worker.adapters.ledger.connection import Work
from worker.adapters.ledger.lines import FileLine, Line, NetworkLine
from worker.errors import ConfigurationError, Unavailable

T = TypeVar("T")

_LONGEST_WAIT_S = 1.0
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


class Database:
    """One connection, opened again whenever it was lost; used by one task at a time."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = parse_url(url)
        self._timeout_s = timeout_s
        self._idle: Line | None = None
        if self.is_sqlite and not Path(self._url.database or "").parent.is_dir():
            raise ConfigurationError(f"the ledger's directory does not exist: {Path(self._url.database or '').parent}")

    @property
    def is_sqlite(self) -> bool:
        return self._url.drivername.startswith("sqlite")

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

    async def run(self, work: Work[T]) -> T:
        """Do the work, a whole transaction; once more if it was rolled back in favour of somebody else's.

        Raises:
            Unavailable: the database failed; what is unknown then is only whether a commit was carried out.
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

    async def _run_once(self, work: Work[T]) -> T:
        # Taken while it is in use: should this hang and be abandoned, the next one opens another.
        line, self._idle = self._idle, None
        if line is None or line.is_broken:
            line = await self._open()
        is_sound = False
        try:
            outcome = await line.run(work)
            is_sound = True
            return outcome
        finally:
            if is_sound and self._idle is None:
                self._idle = line
            else:
                await line.discard()

    async def close(self) -> None:
        line, self._idle = self._idle, None
        if line is not None:
            await line.close()

    async def _open(self) -> Line:
        give_up = stop_after_delay(self._timeout_s / 2)
        # The last try ends before the time does, so that its reason is told, and not only that time was up.
        wait = _jitter(longest_s=min(_LONGEST_WAIT_S, self._timeout_s / 4))
        patiently = AsyncRetrying(retry=retry_if_exception(_may_pass), stop=give_up, wait=wait, reraise=True)
        return await patiently(self._open_once)

    async def _open_once(self) -> Line:
        kind = FileLine if self.is_sqlite else NetworkLine
        return await kind.open(self._url, self._timeout_s)

    def _unavailable(self, error: BaseException) -> Unavailable:
        return Unavailable(f"the ledger's database does not answer: {self._why(error)}")

    def _why(self, error: BaseException) -> str:
        # The class only, never the text: that may quote parameters, that is results and addresses, or the URL.
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        if cause.__cause__ is not None and not isinstance(cause.__cause__, asyncio.CancelledError):
            cause = cause.__cause__
        return f"{type(cause).__name__} at {describe(self._url)}"


def _sqlstate(error: BaseException) -> str | None:
    cause = error.orig if isinstance(error, DBAPIError) else error
    state: str | None = getattr(cause, "sqlstate", None)
    return state


def _may_be_repeated(error: BaseException) -> bool:
    return _sqlstate(error) in _ROLLED_BACK_FOR_ANOTHER


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, (TimeoutError, *_UNAVAILABLE)) and _sqlstate(error) not in _WRONG_SETTINGS


def _jitter(longest_s: float = _LONGEST_WAIT_S) -> wait_random_exponential:
    return wait_random_exponential(multiplier=0.05, max=longest_s)

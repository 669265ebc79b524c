"""The connection to the ledger's database: where it is, how it is opened, and what its errors mean."""

import asyncio
import sqlite3
from pathlib import Path
from typing import TypeVar

import asyncpg  # type: ignore[import-untyped]  # it has none
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_random_exponential

from worker.adapters.addresses.ledger import Ledger, LedgerAddress, ledger_address
from worker.adapters.ledger.lines import FileLine, Line, NetworkLine, Work
from worker.adapters.tls import tls_refusal
from worker.errors import ConfigurationError, Unavailable

T = TypeVar("T")

_LONGEST_WAIT_S = 1.0
_ROLLED_BACK_FOR_ANOTHER = {"40001", "40P01"}  # serialization failure, deadlock: the whole transaction may be repeated
# User, password, no such database, no right to use it; and what `options` says: no such name, no such value, no option.
_WRONG_SETTINGS = {"28000", "28P01", "3D000", "42501", "42704", "22023", "42601"}
_NO_TLS = "the server offers no TLS"
_MAX_WORDS = 200
_UNAVAILABLE = (SQLAlchemyError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, sqlite3.Error)


class Database:
    """One connection, opened again whenever it was lost; used by one task at a time."""

    def __init__(self, ledger: Ledger, timeout_s: float) -> None:
        self._address: LedgerAddress = ledger_address(ledger)
        self._timeout_s = timeout_s
        self._idle: Line | None = None
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
        return await kind.open(self._address, self._timeout_s)

    def _unavailable(self, error: BaseException) -> Unavailable:
        return Unavailable(f"the ledger's database does not answer: {self._why(error)}")

    def _refusal(self, error: BaseException) -> str:
        """What is wrong, in the server's own words: before the first statement they can only be about the sign-in."""
        words = f": {' '.join(str(_cause(error)).split())[:_MAX_WORDS]}" if _sqlstate(error) in _WRONG_SETTINGS else ""
        return f"the database refuses the connection: {self._why(error)}{words}"

    def _why(self, error: BaseException) -> str:
        # The class only, never the text: that may quote parameters, that is results and addresses, or the URL.
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
    """Whether the server said that it has no TLS; asyncpg has no class for it."""
    return isinstance(error, ConnectionError) and str(error).endswith("rejected SSL upgrade")


def _jitter(longest_s: float = _LONGEST_WAIT_S) -> wait_random_exponential:
    return wait_random_exponential(multiplier=0.05, max=longest_s)

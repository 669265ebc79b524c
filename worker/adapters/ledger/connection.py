"""A database connection as the ledger's transactions see it, and one that answers on the spot.

A transaction is written as a coroutine, yet none of its statements has to take the way through the event loop and
back: that way costs more than most statements do. So the whole of it runs at once, over a blocking connection:
SQLite's in a thread of its own, PostgreSQL's in one greenlet.
"""

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, CursorResult, Dialect, Executable

T = TypeVar("T")


class Connected(Protocol):
    """What a transaction needs of a connection; SQLAlchemy's `AsyncConnection` is one too."""

    @property
    def dialect(self) -> Dialect: ...

    def begin(self) -> AbstractAsyncContextManager[Any]:
        """A transaction for as long as the context lasts: committed at its end, rolled back after an error."""

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]: ...

    async def run_sync(self, step: Callable[[Connection], T]) -> T:
        """Do something with the blocking connection itself."""


class Direct:
    """A blocking connection as `Connected`: every answer is there as soon as it is awaited."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def dialect(self) -> Dialect:
        return self._connection.dialect

    @asynccontextmanager
    async def begin(self) -> Any:
        with self._connection.begin():
            yield

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        return self._connection.execute(statement, parameters)

    async def run_sync(self, step: Callable[[Connection], T]) -> T:
        return step(self._connection)


Work = Callable[[Connected], Coroutine[Any, Any, T]]
"""A whole transaction. It awaits nothing but its connection."""


def finish(connection: Connection, work: Work[T]) -> T:
    """Do the work over a blocking connection, from its beginning to its end."""
    coroutine = work(Direct(connection))
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # what a coroutine returns
    coroutine.close()
    raise RuntimeError("a transaction waited for something else than its connection")

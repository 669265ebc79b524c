"""How the memory's parts reach the database."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

T = TypeVar("T")


class Transactions(Protocol):
    """Runs work in a transaction of its own. Raises `Unavailable`."""

    async def __call__(self, work: Callable[[Connection], T]) -> T: ...


def upsert(connection: Connection, table: Table) -> Any:
    """An INSERT that can say what happens on conflict; each database has a class of its own for it."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return insert(table)

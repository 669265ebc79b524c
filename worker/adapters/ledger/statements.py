"""Statements that every letter needs, compiled once and then passed directly to the database driver.

SQLAlchemy looks up each statement, builds a context for it and a result around its rows. That costs several times
SQLite's own execution time, in the ledger's thread, for which the event loop has to wait. Here SQLAlchemy only compiles
the statement and supplies the value conversions; each execution then just converts and calls the driver.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Delete, Dialect, Insert, Select, Table, Update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import ReturningInsert

T = TypeVar("T")
Parameters = Mapping[str, Any]
Convert = Callable[[Any], Any]
_Slot = tuple[str, int | None, Convert | None]


class _Form:
    """The statement for one dialect and for lists of given lengths, as text with placeholders."""

    def __init__(self, statement: "Clause", dialect: Dialect, example: Parameters) -> None:
        compiled = statement.compile(dialect=dialect)
        expanded = compiled.construct_expanded_state(dict(example))
        self.text = expanded.statement
        members = {
            member: (name, index)
            for name, names in expanded.parameter_expansion.items()
            for index, member in enumerate(names)
        }
        self._slots: list[_Slot] = []
        self._constants: dict[str, Any] = {}
        for place in expanded.positiontup or ():
            name, index = members.get(place, (place, None))
            if name not in example:
                self._constants[name] = expanded.parameters[place]
            convert = compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect)
            self._slots.append((name, index, convert))
        self._results = [
            column.type.dialect_impl(dialect).result_processor(dialect, None) for column in statement.exported_columns
        ]

    def values(self, parameters: Parameters) -> tuple[Any, ...]:
        """The values in placeholder order."""
        known = {**self._constants, **parameters}
        values = []
        for name, index, convert in self._slots:
            value = known[name] if index is None else known[name][index]
            values.append(value if convert is None else convert(value))
        return tuple(values)

    def row(self, raw: Sequence[Any]) -> tuple[Any, ...]:
        """A row converted to Python values."""
        return tuple(
            value if convert is None else convert(value) for value, convert in zip(raw, self._results, strict=True)
        )


Clause = Select[Any] | Insert | ReturningInsert[Any] | Update | Delete


class Statement:
    """One statement, for any of the ledger's databases. Raises SQLAlchemy's errors."""

    def __init__(self, clause: Clause) -> None:
        self._clause = clause
        self._forms: dict[tuple[str, tuple[int, ...]], _Form] = {}

    def rows(self, connection: Connection, parameters: Parameters) -> list[tuple[Any, ...]]:
        """Execute; returns the rows."""
        form = self._form(connection, parameters)
        with _Cursor(connection, form.text) as cursor:
            cursor.execute(form.text, form.values(parameters))
            return [form.row(raw) for raw in cursor.fetchall()]

    def count(self, connection: Connection, parameters: Parameters) -> int:
        """Execute; returns the number of changed rows."""
        form = self._form(connection, parameters)
        with _Cursor(connection, form.text) as cursor:
            cursor.execute(form.text, form.values(parameters))
            return int(cursor.rowcount)

    def each(self, connection: Connection, many: Sequence[Parameters]) -> None:
        """Execute with each of the parameters, at least one, all of the same shape."""
        form = self._form(connection, many[0])
        with _Cursor(connection, form.text) as cursor:
            cursor.executemany(form.text, [form.values(parameters) for parameters in many])

    def _form(self, connection: Connection, parameters: Parameters) -> _Form:
        dialect = connection.dialect
        lengths = tuple(len(value) for value in parameters.values() if isinstance(value, list))
        form = self._forms.get((dialect.name, lengths))
        if form is None:
            form = self._forms[dialect.name, lengths] = _Form(self._clause, dialect, parameters)
        return form


class _Cursor:
    """The driver's cursor; its errors become SQLAlchemy's, without parameters, which include results and addresses."""

    def __init__(self, connection: Connection, text: str) -> None:
        self._connection = connection
        self._text = text
        self._cursor: Any = None

    def __enter__(self) -> Any:
        self._cursor = self._connection.connection.cursor()
        return self._cursor

    def __exit__(self, _: object, error: BaseException | None, _traceback: object) -> None:
        self._cursor.close()
        driver = self._connection.dialect.dbapi
        if driver is not None and isinstance(error, driver.Error):
            raise DBAPIError(self._text, None, error, hide_parameters=True) from error


def padded(values: list[T]) -> list[T]:
    """Pad the values with the last one to a power of two: few lengths mean few statements."""
    return values + values[-1:] * ((1 << (len(values) - 1).bit_length()) - len(values))


def upsert(dialect: str, table: Table) -> Any:
    """An INSERT with ON CONFLICT support; each dialect has its own class for it."""
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return insert(table)

"""The compiled snapshot: a SQLite file with one row for each account, written once and then only read."""

import hashlib
import os
import sqlite3
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Self

from worker.adapters.snapshot.problems import Problem
from worker.domain import addresses, text, vocabulary
from worker.domain.snapshot import model, secret_references
from worker.domain.snapshot.model import SnapshotHeader

_FORMAT = 1
"""Increment when the tables below, or the meaning of their contents, change."""

# A table with row ids and an index beside it: rows are some kilobytes, and SQLite keeps large rows in the leaves of
# the former only. `document` is NULL for an account that is left out.
_SCHEMA = """
CREATE TABLE accounts (id TEXT NOT NULL UNIQUE, document TEXT);
CREATE TABLE problems (account_id TEXT, path TEXT NOT NULL, message TEXT NOT NULL);
CREATE TABLE meta (header TEXT NOT NULL, digest TEXT NOT NULL, accounts INTEGER NOT NULL, left_out INTEGER NOT NULL);
"""


@lru_cache(maxsize=4)
def compiler_id(reference_accounts: frozenset[str] | None = frozenset()) -> str:
    """Identifies this compiler: a snapshot from a compiler with other tables or rules is compiled again.

    Hashes the source of the rules; their JSON Schema would miss what validators do in Python.
    """
    modules = (addresses, secret_references, model, text, vocabulary)
    rules = b"".join(Path(module.__file__ or "").read_bytes() for module in modules)
    accounts = "any" if reference_accounts is None else repr(sorted(reference_accounts))
    return hashlib.sha256(b"%d " % _FORMAT + rules + accounts.encode("utf-8", "surrogatepass")).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Contents:
    """Metadata of a compiled snapshot. `accounts` omits those of the `left_out` that have no usable id."""

    header: SnapshotHeader
    digest: str
    accounts: int
    left_out: int


class CompiledWriter:
    """Writes a compiled snapshot. Not durable before `finish`; an unfinished file is never read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._nameless = 0
        self._connection = sqlite3.connect(path, isolation_level=None)
        # Rows have some kilobytes: in pages of the usual 4 KiB nearly half of the room would stay empty.
        self._connection.execute("PRAGMA page_size = 16384")
        # No journal and no waiting for the disk: the file is thrown away when anything goes wrong.
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._connection.executescript(_SCHEMA)
        self._connection.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def add(self, account_id: str, document: str) -> bool:
        """Add an account; False when the id already exists."""
        added = self._connection.execute("INSERT OR IGNORE INTO accounts VALUES (?, ?)", (account_id, document))
        return added.rowcount == 1

    def leave_out(self, account_id: str | None, problems: list[Problem]) -> None:
        """Record an account as left out, with its problems; if it was already added, its document is removed."""
        if account_id is None:
            self._nameless += 1
        else:
            self._connection.execute(
                "INSERT INTO accounts VALUES (?, NULL) ON CONFLICT (id) DO UPDATE SET document = NULL", (account_id,)
            )
        rows = [(problem.account_id, problem.path, problem.message) for problem in problems]
        self._connection.executemany("INSERT INTO problems VALUES (?, ?, ?)", rows)

    def finish(self, header: SnapshotHeader, digest: str) -> Contents:
        """Complete the file and sync it to disk."""
        (accounts,) = self._connection.execute("SELECT count(*) FROM accounts").fetchone()
        (bad,) = self._connection.execute("SELECT count(*) FROM accounts WHERE document IS NULL").fetchone()
        contents = Contents(header, digest, accounts, bad + self._nameless)
        row = (header.model_dump_json(by_alias=True), digest, contents.accounts, contents.left_out)
        self._connection.execute("INSERT INTO meta VALUES (?, ?, ?, ?)", row)
        self._connection.execute("COMMIT")
        self._connection.close()
        with self._path.open("rb") as file:
            os.fsync(file.fileno())
        return contents


class CompiledReader:
    """Reads a compiled snapshot, which never changes; it may be unlinked or renamed meanwhile.

    Raises, here and in every method:
        sqlite3.Error: the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        # Usable from another thread than the one that opened it, never from two at once.
        self._connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False, isolation_level=None
        )
        self._connection.execute("PRAGMA cache_size = -2000")

    def contents(self) -> Contents:
        header, digest, accounts, left_out = self._connection.execute("SELECT * FROM meta").fetchone()
        return Contents(SnapshotHeader.model_validate_json(header), digest, accounts, left_out)

    def document(self, account_id: str) -> tuple[str | None] | None:
        """A one-column row: the account's JSON, or None if it is left out. None when there is no such account."""
        try:
            row: tuple[str | None] | None = self._connection.execute(
                "SELECT document FROM accounts WHERE id = ?", (account_id,)
            ).fetchone()
        except UnicodeEncodeError:  # a lone surrogate: no account has such an id
            return None
        return row

    def account_ids(self) -> list[str]:
        """The ids of all accounts not left out, in order."""
        rows = self._connection.execute("SELECT id FROM accounts WHERE document IS NOT NULL ORDER BY id")
        return [account_id for (account_id,) in rows]

    def problems(self, limit: int) -> list[Problem]:
        """The first problems, in the document's order."""
        rows = self._connection.execute("SELECT * FROM problems ORDER BY rowid LIMIT ?", (limit,))
        return [Problem(*row) for row in rows]

    def close(self) -> None:
        self._connection.close()


_CHECKSUM_CHARS: Final = 16


def checksum(path: Path) -> str:
    """A checksum of a whole file: SQLite itself would not notice a changed byte within a row."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:_CHECKSUM_CHARS]

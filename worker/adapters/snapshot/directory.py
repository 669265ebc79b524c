"""A compiled snapshot as the directory that the delivery reads."""

import sqlite3
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from worker.adapters.snapshot.cache_directory import StateDirectory
from worker.adapters.snapshot.compiler import compile_document
from worker.adapters.snapshot.problems import Problem
from worker.adapters.snapshot.store import CompiledReader
from worker.domain.snapshot.model import Account, Platform
from worker.errors import InvalidSnapshot

_CACHED_CHARS = 2 * 1024 * 1024


class CompiledDirectory:
    """The accounts of one compiled snapshot, read on demand.

    Args:
        path: the compiled file; it may be unlinked once it is open.
        cached_chars: total JSON text of the accounts kept parsed; as objects they take about ten times as much memory.

    When the file turns out to be damaged, accounts that cannot be read are left out (their letters wait), and
    `is_damaged` says so.

    Raises:
        InvalidSnapshot: the file is no compiled snapshot.
    """

    def __init__(self, path: Path, cached_chars: int = _CACHED_CHARS) -> None:
        try:
            self._reader = CompiledReader(path)
            weakref.finalize(self, self._reader.close)
            self._contents = self._reader.contents()
        except (sqlite3.Error, TypeError, ValidationError):  # TypeError: there is no row to unpack
            raise InvalidSnapshot(f"{path.name} is not a compiled snapshot") from None
        self._cached_chars = cached_chars
        self._cache: OrderedDict[str, tuple[Account, int]] = OrderedDict()
        self._cache_chars = 0
        self.path = path
        self.is_damaged = False

    @property
    def version(self) -> int:
        return self._contents.header.version

    @property
    def platform(self) -> Platform:
        return self._contents.header.platform

    @property
    def generated_at(self) -> datetime:
        return self._contents.header.generated_at

    @property
    def digest(self) -> str:
        """SHA-256 of the document, in hexadecimal."""
        return self._contents.digest

    @property
    def accounts(self) -> int:
        """How many accounts the snapshot has, including those left out as invalid."""
        return self._contents.accounts

    @property
    def left_out(self) -> int:
        """How many accounts are not served because they are invalid."""
        return self._contents.left_out

    def account(self, account_id: str) -> Account | None:
        """The account, or None when the snapshot does not have it or left it out."""
        cached = self._cache.get(account_id)
        if cached is not None:
            self._cache.move_to_end(account_id)
            return cached[0]
        document = self._document(account_id)
        if not document:
            return None
        try:
            account = Account.model_validate_json(document)
        except ValidationError:  # it was valid when it was compiled
            self.is_damaged = True
            return None
        self._keep(account, len(document))
        return account

    def is_left_out(self, account_id: str) -> bool:
        """True when the snapshot has the account but it is invalid, or can no longer be read."""
        if account_id in self._cache:
            return False
        return self._document(account_id) == "" or (self.is_damaged and self.account(account_id) is None)

    def problems(self, limit: int = 1_000) -> Sequence[Problem]:
        """The problems of the accounts left out, in document order."""
        try:
            return self._reader.problems(limit)
        except sqlite3.Error:
            self.is_damaged = True
            return []

    def account_ids(self) -> list[str]:
        """The ids of the served accounts, in order.

        Raises:
            InvalidSnapshot: the file is damaged.
        """
        try:
            return self._reader.account_ids()
        except sqlite3.Error:
            raise InvalidSnapshot(f"{self.path.name} is damaged") from None

    def _document(self, account_id: str) -> str | None:
        """The account's JSON; empty when it is left out, None when there is no such account."""
        try:
            row = self._reader.document(account_id)
        except sqlite3.Error:
            self.is_damaged = True
            return ""
        return row and (row[0] or "")

    def _keep(self, account: Account, chars: int) -> None:
        self._cache[account.id] = (account, chars)
        self._cache_chars += chars
        while self._cache_chars > self._cached_chars and len(self._cache) > 1:
            _, (_, freed) = self._cache.popitem(last=False)
            self._cache_chars -= freed


def load_directory(
    path: Path, name: str | None = None, *, reference_accounts: frozenset[str] | None = frozenset()
) -> CompiledDirectory:
    """Read a whole document synchronously, for commands. Problems of single accounts are in `problems`.

    `name`: display name of the document, if other than the path. `reference_accounts` may name variables and files as
    secrets (None: all may); other accounts that do are left out.

    Raises:
        InvalidSnapshot: the document is refused as a whole, or cannot be read; the text says where and why.
    """
    with tempfile.TemporaryDirectory(prefix="sendas-snapshot-") as directory:
        try:
            compiled = compile_document(path, StateDirectory(Path(directory), str(path), reference_accounts))
        except InvalidSnapshot as error:
            raise InvalidSnapshot(f"{name or path}: {error}") from None
        except OSError as error:
            raise InvalidSnapshot(f"{name or path}: {error.strerror or type(error).__name__}") from None
        except sqlite3.Error as error:
            raise InvalidSnapshot(f"{name or path}: {error}") from None
        assert compiled is not None  # noqa: S101 - None means "the one in use", and none is
        return CompiledDirectory(compiled)

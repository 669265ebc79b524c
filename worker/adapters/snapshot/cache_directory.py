"""The state directory: compiled snapshots with self-describing names, shared by the workers of a host.

A name is `<source>-<compiler>-<version>-<digest>-<checksum>.snapshot`. Files appear by a rename and are never
written to again, and a process that has one open keeps it after it is unlinked, so nothing needs a lock.
"""

import hashlib
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from worker.adapters.snapshot.store import checksum, compiler_id

SUFFIX: Final = ".snapshot"
UNFINISHED_SUFFIX: Final = ".snapshot-unfinished"
_NAME = re.compile(
    r"(?P<source>[0-9a-f]{8})-(?P<compiler>[0-9a-f]{8})-(?P<version>\d{1,19})-(?P<digest>[0-9a-f]{16})-"
    r"(?P<checksum>[0-9a-f]{16})\.snapshot"
)
_UNFINISHED_KEPT_S = 3_600
_FOREIGN_KEPT_S = 7 * 86_400


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    source: str
    compiler: str
    version: int
    digest: str
    checksum: str
    changed_at_s: float


class StateDirectory:
    """The compiled snapshots of one source in a directory.

    Args:
        path: the directory; created if missing.
        source: identifies the source of the documents, so that one source never serves another's last good snapshot.
        reference_accounts: accounts that may name variables and files as secrets. A snapshot compiled for other
            accounts, or by another release, is compiled again.
    """

    def __init__(self, path: Path, source: str, reference_accounts: frozenset[str] | None = frozenset()) -> None:
        self.path = path
        self.source = source
        self.reference_accounts = reference_accounts
        self._compiler_id = compiler_id(reference_accounts)
        self._source_id = hashlib.sha256(source.encode()).hexdigest()[:8]

    def unfinished(self) -> Path:
        """A new path for a file still being written."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self.path / f"{uuid.uuid4().hex}{UNFINISHED_SUFFIX}"

    def install(self, unfinished: Path, version: int, digest: str) -> Path:
        """Rename a finished file to its final name, durably."""
        name = f"{self._source_id}-{self._compiler_id}-{version}-{digest[:16]}-{checksum(unfinished)}{SUFFIX}"
        installed = unfinished.rename(self.path / name)
        directory = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return installed

    def candidates(self) -> list[Path]:
        """This compiler's files for this source: highest version first, then most recently confirmed."""
        own = [entry for entry in self._entries() if self._is_own(entry)]
        own.sort(key=lambda entry: (entry.version, entry.changed_at_s), reverse=True)
        return [entry.path for entry in own]

    def find(self, digest: str) -> Path | None:
        """An undamaged compiled file for the document with this digest."""
        for entry in self._entries():
            if self._is_own(entry) and entry.digest == digest[:16] and is_undamaged(entry.path):
                return entry.path
        return None

    def clean(self, in_use: Path) -> None:
        """Remove files that `in_use` supersedes, and leftovers of crashed processes and earlier releases.

        Another worker that still serves a removed file has it open, so it keeps the contents until it switches itself.
        """
        kept = _parse(in_use)
        now_s = time.time()
        for entry in self._entries():
            if self._is_own(entry) and kept is not None:
                is_superseded = entry.path != in_use and entry.version <= kept.version
            else:  # perhaps another release's, in the middle of a rolling update
                is_superseded = now_s - entry.changed_at_s > _FOREIGN_KEPT_S
            if is_superseded:
                entry.path.unlink(missing_ok=True)
        for path in self.path.glob(f"*{UNFINISHED_SUFFIX}*"):
            with suppress(FileNotFoundError):
                if now_s - path.stat().st_mtime > _UNFINISHED_KEPT_S:
                    path.unlink()

    def _is_own(self, entry: _Entry) -> bool:
        return entry.source == self._source_id and entry.compiler == self._compiler_id

    def _entries(self) -> Iterator[_Entry]:
        if not self.path.is_dir():
            return
        for path in self.path.iterdir():
            entry = _parse(path)
            if entry is not None:
                yield entry


def is_undamaged(path: Path) -> bool:
    """True when the file exists and its checksum matches; reads the whole file."""
    entry = _parse(path)
    with suppress(FileNotFoundError):
        return entry is not None and checksum(path) == entry.checksum
    return False


def _parse(path: Path) -> _Entry | None:
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    try:
        changed_at_s = path.stat().st_mtime
    except FileNotFoundError:  # another worker cleaned up
        return None
    fields = match.groupdict()
    return _Entry(
        path,
        fields["source"],
        fields["compiler"],
        int(fields["version"]),
        fields["digest"],
        fields["checksum"],
        changed_at_s,
    )

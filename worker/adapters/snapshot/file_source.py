"""Where snapshot documents come from: the port, and a file of this host."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import anyio
from watchfiles import awatch

from worker.adapters.snapshot.cache_directory import SUFFIX, UNFINISHED_SUFFIX
from worker.adapters.snapshot.problems import Refusal, RefusedDocument
from worker.errors import Unavailable

MAX_DOCUMENT_BYTES: Final = 1024 * 1024 * 1024

# A file this young may be written to again without a change of its times, which advance in steps.
_SETTLED_AFTER_S = 2.0


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The document still matches the tag."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document to read. `tag` recognises it next time, None when nothing can; `is_temporary`: unlink it after use."""

    path: Path
    tag: str | None
    is_temporary: bool = False


class Source(Protocol):
    """Gives the newest document."""

    @property
    def name(self) -> str:
        """Identifies the source, for display and for the state directory; without credentials."""

    async def fetch(self, tag: str | None, unfinished: Path) -> Document | Unchanged:
        """The document, unless it still matches this tag. A download is written to the path `unfinished`.

        Raises:
            Unavailable: the source does not answer, or not with a document.
            RefusedDocument: the document is larger than allowed.
            OSError: the download cannot be written.
        """

    def changes(self) -> AsyncIterator[None]:
        """Yields each time the source may have changed; ends at once where changes cannot be watched.

        Raises:
            OSError: changes cannot be watched for now.
        """

    async def close(self) -> None: ...


class FileSource:
    """A file, such as one that Kubernetes projects from a ConfigMap or Secret, or that a sidecar writes.

    Args:
        path: the file.
        max_bytes: a larger one is refused.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_DOCUMENT_BYTES) -> None:
        self._path = path.absolute()
        self._max_bytes = max_bytes
        self._closed = asyncio.Event()

    @property
    def name(self) -> str:
        return self._path.as_uri()

    async def fetch(self, tag: str | None, unfinished: Path) -> Document | Unchanged:  # noqa: ARG002 - the port's
        try:
            status = await asyncio.to_thread(self._path.stat)
        except OSError as error:
            raise Unavailable(f"{self._path}: {error.strerror or type(error).__name__}") from None
        if status.st_size > self._max_bytes:
            raise RefusedDocument(Refusal.TOO_LARGE, f"the document has more than {self._max_bytes} bytes")
        own = _tag(status)
        if own is not None and own == tag:
            return Unchanged()
        return Document(self._path, own)

    async def changes(self) -> AsyncIterator[None]:
        await asyncio.to_thread(_load_watching)
        # The directory, not the file: Kubernetes swaps a symlink beside it (`..data`), and editors and
        # careful writers rename a new file over the old one. Both leave a watch on the file blind.
        watch = awatch(self._path.parent, watch_filter=None, recursive=False, debounce=400, stop_event=self._closed)
        try:
            async for changes in watch:
                if any(not is_compiled_file(path) for _, path in changes):
                    yield None
        except RuntimeError as error:  # watchfiles' own: no watches left on this host, for example
            raise OSError(str(error)) from None

    async def close(self) -> None:
        self._closed.set()


def is_compiled_file(path: str) -> bool:
    """True for our own files: they may sit beside the document, and reacting to them would loop for ever."""
    return path.endswith((SUFFIX, UNFINISHED_SUFFIX))


def _load_watching() -> None:
    """Make anyio, which `awatch` builds on, load its backend now: in the event loop's thread it takes 0.1 s."""
    anyio.run(anyio.sleep, 0)


def _tag(status: os.stat_result) -> str | None:
    changed_at_s = max(status.st_mtime, status.st_ctime)
    if abs(time.time() - changed_at_s) < _SETTLED_AFTER_S:
        return None
    return f"{status.st_dev}-{status.st_ino}-{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_size}"

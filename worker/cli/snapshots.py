"""The configuration snapshot that a command looks into: a file that was named, or the one the worker uses."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from worker.adapters.snapshot.directory import CompiledDirectory, load_directory
from worker.adapters.snapshot.sources import Unchanged
from worker.errors import ConfigurationError, InvalidSnapshot, Unavailable
from worker.settings import Settings, load_settings


@dataclass(frozen=True, slots=True)
class SnapshotDocument:
    """A document to read, and what people call it: the URL of one that was downloaded, without its query."""

    path: Path
    name: str


@contextmanager
def snapshot_document(given: Path | None) -> Iterator[SnapshotDocument]:
    """The document in the file `given`; without one, what `SENDAS_SNAPSHOT_URL` names, fetched as the worker does.

    Raises:
        ConfigurationError: no file is named, and the setting leads to no document; one line that says why.
    """
    if given is not None:
        yield SnapshotDocument(given, str(given))
        return
    settings = load_settings()
    with tempfile.TemporaryDirectory(prefix="sendas-snapshot-") as directory:
        try:
            document = asyncio.run(_fetched(settings, Path(directory) / "snapshot.json"))
        except (Unavailable, InvalidSnapshot, OSError) as error:
            raise ConfigurationError(
                f"no configuration snapshot: {error}; name a file with --snapshot, or set SENDAS_SNAPSHOT_URL"
            ) from None
        yield document


def read_snapshot(given: Path | None) -> tuple[CompiledDirectory, str]:
    """The snapshot's accounts, and its name for people; see `snapshot_document`.

    Raises:
        ConfigurationError: there is no document, or it is refused as a whole.
    """
    with snapshot_document(given) as document:
        try:
            return load_directory(document.path, document.name), document.name
        except InvalidSnapshot as error:
            raise ConfigurationError(str(error)) from None


async def _fetched(settings: Settings, download: Path) -> SnapshotDocument:
    from worker.app import snapshot_source  # here, as it loads every library, and most calls name a file

    source = snapshot_source(settings, attempts=1)
    try:
        document = await source.fetch(None, download)
    finally:
        await source.close()
    assert not isinstance(document, Unchanged)  # noqa: S101 - it was asked for without a tag
    return SnapshotDocument(document.path, source.name)

"""The snapshot that a command reads: a given file, or the one the worker uses."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from worker.adapters.snapshot.directory import CompiledDirectory, load_directory
from worker.adapters.snapshot.file_source import Unchanged
from worker.domain.snapshot.secret_references import References
from worker.errors import ConfigurationError, InvalidSnapshot, Unavailable
from worker.settings import Settings, load_settings


@dataclass(frozen=True, slots=True)
class SnapshotDocument:
    """A document to read, and its name for people: if downloaded, its URL without the query."""

    path: Path
    name: str


@contextmanager
def snapshot_document(given: Path | None) -> Iterator[SnapshotDocument]:
    """Read the document in the file `given`, or fetch what `SENDAS_SNAPSHOT_URL` names, as the worker does.

    Raises:
        ConfigurationError: no file is given and the setting leads to no document; one line that says why.
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
    """The snapshot's accounts and its name for people, without opening secrets; see `snapshot_document`.

    Raises:
        ConfigurationError: there is no document, or it is rejected as a whole.
    """
    with snapshot_document(given) as document:
        return _loaded(document, None), document.name


def read_own_snapshot(given: Path | None, listed: frozenset[str]) -> tuple[CompiledDirectory, str, References]:
    """The same for a command that signs in, plus whose variables and files may serve as secrets.

    A file with one account involves no other customer: the person at the command line supplied its references, and runs
    in the same environment. With several accounts, and in the current snapshot, only the `listed` ones may use them, as
    in the worker.

    Raises:
        ConfigurationError: as for `read_snapshot`.
    """
    with snapshot_document(given) as document:
        directory = _loaded(document, None)
        references = References(None if given is not None and directory.accounts == 1 else listed)
        if references.accounts is not None:
            directory = _loaded(document, references.accounts)
        return directory, document.name, references


def _loaded(document: SnapshotDocument, reference_accounts: frozenset[str] | None) -> CompiledDirectory:
    try:
        return load_directory(document.path, document.name, reference_accounts=reference_accounts)
    except InvalidSnapshot as error:
        raise ConfigurationError(str(error)) from None


async def _fetched(settings: Settings, download: Path) -> SnapshotDocument:
    from worker.app import snapshot_source  # imported here because it loads every library, and most calls name a file

    source = snapshot_source(settings, attempts=1)
    try:
        document = await source.fetch(None, download)
    finally:
        await source.close()
    assert not isinstance(document, Unchanged)  # noqa: S101 - requested without a tag
    return SnapshotDocument(document.path, source.name)

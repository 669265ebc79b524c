"""The private directory that holds everything the servers write."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A Unix socket's path has at most 107 bytes, and the longest below this directory needs 50 of them.
_MAX_PATH_BYTES = 57


@contextmanager
def private_directory() -> Iterator[Path]:
    """Create a temporary directory that the servers' own users can traverse; removes it on exit."""
    directory = Path(tempfile.mkdtemp(prefix="sendas-"))
    try:
        directory.chmod(0o711)
        check_directory(directory)
        yield directory
    finally:
        shutil.rmtree(directory)


def check_directory(directory: Path) -> None:
    """Raise ValueError if servers cannot run in this existing directory."""
    if not directory.is_absolute() or len(os.fsencode(directory)) > _MAX_PATH_BYTES:
        raise ValueError(
            f"{directory}: want an absolute path of at most {_MAX_PATH_BYTES} bytes, for Unix sockets in it"
        )
    for path in (directory, *directory.parents):
        if not path.stat().st_mode & 0o001:
            raise ValueError(f"{path}: the servers' own users may not pass through it (want mode o+x)")

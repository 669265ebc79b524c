"""Child processes of the worker's: for what takes long, or for as long as somebody else chooses."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import worker

_INHERITED = frozenset({"PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONHOME", "TMPDIR", "SQLITE_TMPDIR"})


def environment() -> dict[str, str]:
    """What Python needs and no more: a child needs no key, password or token of the worker's."""
    inherited = {name: value for name, value in os.environ.items() if name in _INHERITED}
    return inherited | {"PYTHONPATH": str(Path(worker.__file__).parent.parent)}


@asynccontextmanager
async def ended(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    """A context after which the child has ended, also where it is left by an error or a cancellation."""
    try:
        yield
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())

"""Child processes of the worker, for work that is slow, or whose duration foreign input determines."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import worker

_INHERITED = frozenset({"PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONHOME", "TMPDIR", "SQLITE_TMPDIR"})


def environment() -> dict[str, str]:
    """The minimum that Python needs: a child gets none of the worker's keys, passwords or tokens."""
    inherited = {name: value for name, value in os.environ.items() if name in _INHERITED}
    return inherited | {"PYTHONPATH": str(Path(worker.__file__).parent.parent)}


@asynccontextmanager
async def ended(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    """Context manager that ensures the child has ended on exit, also after an error or a cancellation."""
    try:
        yield
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())

"""For how long the event loop is held while something is done."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

_EVERY_S = 0.002


@dataclass(slots=True)
class Held:
    """The longest time between two turns of a task that only ever waits for its next one."""

    seconds: float = 0.0


@asynccontextmanager
async def longest_hold_s() -> AsyncIterator[Held]:
    """A context; afterwards its value says how long the event loop was held at most."""
    held = Held()

    async def beat() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(_EVERY_S)
            held.seconds = max(held.seconds, time.perf_counter() - before - _EVERY_S)

    task = asyncio.create_task(beat())
    try:
        await asyncio.sleep(_EVERY_S)
        yield held
        await asyncio.sleep(_EVERY_S)
    finally:
        task.cancel()

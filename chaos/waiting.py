"""Waiting for other processes, and working beside."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager

LOOK_S = 0.5
"""Time between two looks at what gives no signal."""


async def until(condition: Callable[[], Awaitable[bool]], within_s: float) -> bool:
    """Wait for a condition of other processes, which give no signal; False when it did not come true in time."""
    deadline = time.monotonic() + within_s
    while not (is_true := await condition()) and time.monotonic() < deadline:  # noqa: ASYNC110 - see above
        await asyncio.sleep(LOOK_S)
    return is_true


@asynccontextmanager
async def background(*jobs: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run jobs while the context lasts. Raises at its end what one of them raised: none may break down in silence."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):
            raise end

"""Finishes work that must not be left half done when its task is cancelled."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from functools import partial
from typing import TypeVar

T = TypeVar("T")


async def until_done(work: "asyncio.Future[T]") -> None:
    """Wait until the work ends, however it ends. Cancelling the caller does not shorten the wait; the caller checks
    `Task.cancelling()` afterwards. The work itself can be cancelled, as everything is when the process ends.
    """
    while not work.done():
        # `asyncio.wait` does the same for any number of them, at several times the cost, for every letter.
        waiting: asyncio.Future[None] = work.get_loop().create_future()
        wake = partial(_wake, waiting)
        work.add_done_callback(wake)
        with suppress(asyncio.CancelledError):
            await waiting
        work.remove_done_callback(wake)


def _wake(waiting: "asyncio.Future[None]", _work: object) -> None:
    if not waiting.done():
        waiting.set_result(None)


async def finished(work: Awaitable[T]) -> T:
    """The work's result, or what it raises; see `until_done`."""
    task = asyncio.ensure_future(work)
    await until_done(task)
    return task.result()


def cancellations() -> int:
    """How often this task has been cancelled so far; an increase means that a cancellation was deferred meanwhile."""
    task = asyncio.current_task()
    return task.cancelling() if task else 0

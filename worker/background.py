"""Background jobs: started together, supervised, and stopped together."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import structlog

log = structlog.get_logger(__name__)

_CANCEL_AGAIN_AFTER_S = 2.0


@asynccontextmanager
async def background(*jobs: Awaitable[None]) -> AsyncIterator[Awaitable[None]]:
    """Run jobs that should never end for the life of the context; yields an awaitable that raises when one fails."""
    tasks = [asyncio.ensure_future(job) for job in jobs]

    async def failed() -> None:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    watching = asyncio.ensure_future(failed())
    try:
        yield watching
    finally:
        await cancelled(*tasks, watching)


async def cancelled(*tasks: asyncio.Future[None]) -> None:
    """Cancel tasks and wait for them to end; cancel again a task that mistook its cancellation for a connection error.

    Client libraries replace `CancelledError` by an error of their own when a connection ends at the same moment, and a
    job that continues after such errors would outlive its cancellation.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        ended, left = await asyncio.wait(left, timeout=_CANCEL_AGAIN_AFTER_S)
        for task in ended:
            if not task.cancelled() and (error := task.exception()) is not None:
                log.debug("worker.job_broke_off", error=repr(error))
        if left:
            log.warning("worker.task_stuck", jobs=sorted(str(each) for each in left))


def set_on_signals(stop: asyncio.Event) -> None:
    """Have SIGTERM and SIGINT set the event, for a graceful shutdown."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def first_of(*awaitables: Awaitable[object]) -> None:
    """Return when the first one is done and cancel the rest; raises what it raised."""
    tasks = [asyncio.ensure_future(each) for each in awaitables]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task not in done:
            task.cancel()
    for task in done:
        task.result()

"""Background jobs end when they are told to, one that overlooks its cancellation too."""

import asyncio

import pytest

from worker import background


async def test_a_job_that_overlooks_its_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a library swallows a job's cancellation, then the worker's end waits for the next one, not for ever."""
    monkeypatch.setattr(background, "_CANCEL_AGAIN_AFTER_S", 0.0)
    overlooked = 0

    async def job() -> None:
        nonlocal overlooked
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if overlooked:
                    raise
                overlooked += 1

    task = asyncio.create_task(job())
    await asyncio.sleep(0)
    await background.cancelled(task)
    assert task.cancelled()
    assert overlooked == 1


async def test_a_job_that_failed_ends_what_waits_for_it() -> None:
    """If a background job raises, then the one who waits for it hears what."""

    async def fails() -> None:
        raise LookupError("a mistake of ours")

    async def works() -> None:
        await asyncio.Event().wait()

    async with background.background(fails(), works()) as failed:
        with pytest.raises(LookupError, match="a mistake of ours"):
            await failed

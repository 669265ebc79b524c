"""What is large is computed beside the event loop, one thing at a time."""

import asyncio
import threading

import pytest

from worker.delivery.aside import Aside


async def test_it_gives_what_the_function_gives_or_raises() -> None:
    aside = Aside()
    assert await aside.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await aside.run(divmod, 7, 0)
    assert await aside.run(divmod, 7, 2) == (3, 1)


async def test_only_one_thing_is_computed_at_a_time() -> None:
    """If four large letters come at once, I expect the event loop to compete with one thread, not with four."""
    aside, inside, most, lock = Aside(), 0, 0, threading.Lock()
    is_second_begun = threading.Event()

    def compute() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            if inside > 1:
                is_second_begun.set()
        is_second_begun.wait(0.05)  # the longer one is in there, the surer a second one would be seen
        with lock:
            inside -= 1

    await asyncio.gather(*(aside.run(compute) for _ in range(4)))
    assert most == 1

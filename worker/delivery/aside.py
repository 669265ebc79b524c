"""Computing that would stop the event loop for too long: it is done beside it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# One for all that is large: threads compute in turn, and with each the event loop waits longer for its own, and the
# memory is kept that each has freed.
_THREAD = ThreadPoolExecutor(max_workers=1, thread_name_prefix="aside")


async def aside(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the function gives or raises; it must not hold the interpreter for long in one step."""
    return await asyncio.get_running_loop().run_in_executor(_THREAD, partial(function, *args, **kwargs))

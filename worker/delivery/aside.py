"""Computing that would stop the event loop for too long: it is done beside it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Aside:
    """One thread for what is large, and so one thing at a time.

    Threads compute in turn anyway; each one more makes the event loop wait longer for its own turn, and keeps tens of
    megabytes of what it has freed.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="aside")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function gives or raises."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(function, *args, **kwargs))

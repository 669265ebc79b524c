"""Computing that would stop the event loop for too long: it is done beside it."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Aside:
    """A thread for what is large, one thing at a time.

    Threads compute in turn anyway, and each one more makes the event loop wait longer for its own turn.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function gives or raises."""
        async with self._lock:
            return await asyncio.to_thread(function, *args, **kwargs)

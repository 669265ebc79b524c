"""How late the event loop is: a loop that is kept busy serves everybody late, and says so nowhere else."""

import asyncio
from collections.abc import Callable

_EVERY_S = 0.5


async def watch_loop(observe: Callable[[float], object], every_s: float = _EVERY_S) -> None:
    """Tell, again and again until cancelled, how many seconds after its time a sleeper was woken."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + every_s
        await asyncio.sleep(every_s)
        observe(max(loop.time() - due, 0.0))

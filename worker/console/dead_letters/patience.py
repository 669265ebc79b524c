"""A dead queue whose reader never hogs the event loop: it yields after each stretch of work."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from worker.operations.dead_letters.queue import DeadLetterWindow, DeadMessage, DeadQueue

_STRETCH_S = 0.01


class ConsiderateQueue:
    """Implements `DeadQueue` by wrapping another one."""

    def __init__(self, queue: DeadQueue) -> None:
        self._queue = queue

    async def size(self) -> int:
        return await self._queue.size()

    @asynccontextmanager
    async def take(self, at_most: int) -> AsyncIterator["ConsiderateTaking"]:
        async with self._queue.take(at_most) as taking:
            yield ConsiderateTaking(taking)


class ConsiderateTaking:
    """Implements `DeadLetterWindow`."""

    def __init__(self, taking: DeadLetterWindow) -> None:
        self._taking = taking
        self._loop = asyncio.get_running_loop()
        self._until_s = self._loop.time() + _STRETCH_S

    def __aiter__(self) -> "ConsiderateTaking":
        return self

    async def __anext__(self) -> DeadMessage:
        if self._loop.time() >= self._until_s:
            await asyncio.sleep(0)
            self._until_s = self._loop.time() + _STRETCH_S
        return await self._taking.__anext__()

    def keep(self, message: DeadMessage) -> None:
        self._taking.keep(message)

    async def settle(self, message: DeadMessage) -> None:
        await self._taking.settle(message)

"""An in-memory dead queue. Returned messages go to its front, in the order they were taken."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from worker.delivery.messages import Publication
from worker.operations.dead_letters.queue import DeadMessage


@dataclass(frozen=True, slots=True)
class KeptMessage:
    """Implements `DeadMessage`."""

    place: int
    body: bytes
    headers: Mapping[str, object] = field(default_factory=dict)
    properties: Mapping[str, object] = field(default_factory=dict)


class MemoryDeadQueue:
    """Implements `DeadQueue`; `publish` makes it a one-queue broker for code that puts letters back."""

    def __init__(self, messages: Iterable[KeptMessage] = ()) -> None:
        self.ready = deque(messages)
        self.returned: deque[KeptMessage] = deque()
        self.has_returned = asyncio.Event()

    @property
    def bodies(self) -> list[bytes]:
        """All bodies, in queue order."""
        return [message.body for message in (*self.returned, *self.ready)]

    async def publish(self, publication: Publication) -> None:
        properties = {"content_type": publication.content_type} if publication.content_type else {}
        self.ready.append(KeptMessage(0, publication.body, dict(publication.headers), properties))

    async def size(self) -> int:
        return len(self.returned) + len(self.ready)

    @asynccontextmanager
    async def take(self, at_most: int) -> AsyncIterator["MemoryTaking"]:
        taking = MemoryTaking(self, at_most)
        try:
            yield taking
        finally:
            self.returned.extend(taking.held.values())
            taking.held = {}
            self.has_returned.set()


class MemoryTaking:
    """Implements `DeadLetterWindow`."""

    def __init__(self, queue: MemoryDeadQueue, at_most: int) -> None:
        self.held: dict[int, KeptMessage] = {}
        self._queue = queue
        self._at_most = at_most
        self._given = 0

    def __aiter__(self) -> "MemoryTaking":
        return self

    async def __anext__(self) -> KeptMessage:
        source = self._queue.returned or self._queue.ready
        if not source or self._given == self._at_most:
            raise StopAsyncIteration
        message = replace(source.popleft(), place=self._given)
        self.held[message.place] = message
        self._given += 1
        return message

    def keep(self, message: DeadMessage) -> None:
        """Do nothing: the message is held already."""

    async def settle(self, message: DeadMessage) -> None:
        del self.held[message.place]

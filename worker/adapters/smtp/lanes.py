"""One route's connections, the letters waiting for one, and the lease of one."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from worker.adapters.smtp.progress import Progress
from worker.adapters.smtp.session import Session
from worker.delivery.ports import Route


class SessionOpener(Protocol):
    """Opens sessions. Raises `Failed`."""

    async def open(self, route: Route, progress: Progress) -> Session: ...


@dataclass(eq=False, slots=True)
class Waiter:
    """A waiting letter; its slot is an idle session, or None with the right to open one."""

    ticket: int
    place: "asyncio.Future[Session | None]"


@dataclass(eq=False, slots=True)
class Lane:
    """One route's connections: `open` counts all that take a slot, `idle` holds unused ones, latest used last."""

    route: Route
    open: int = 0
    idle: list[Session] = field(default_factory=list)
    waiters: deque[Waiter] = field(default_factory=deque)
    is_retired: bool = False

    def first_waiter(self) -> Waiter | None:
        """The first letter still waiting; a cancelled one may stay queued until its task runs again."""
        while self.waiters and self.waiters[0].place.done():
            self.waiters.popleft()
        return self.waiters[0] if self.waiters else None


class Lease:
    """The right to one connection of a route, for one letter."""

    def __init__(self, opener: SessionOpener, route: Route, session: Session | None) -> None:
        self._opener = opener
        self._route = route
        self.session = session
        self.is_reused = session is not None

    async def connect(self, progress: Progress) -> Session:
        """The connection, opened if there is none yet. Raises `Failed`."""
        if self.session is None:
            self.session = await self._opener.open(self._route, progress)
        return self.session

    async def reconnect(self, progress: Progress) -> Session:
        """A new connection to replace one found dead. Raises `Failed`."""
        if self.session is not None:
            self.session.abort()
        self.session, self.is_reused = None, False
        return await self.connect(progress)

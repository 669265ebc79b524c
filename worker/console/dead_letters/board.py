"""A cached scan of the dead queue, shared by all viewers, because a scan hides the letters it holds from others.

It keeps what the list shows, without bodies, in bounded memory.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from worker.console.dead_letters.patience import ConsiderateQueue
from worker.console.ports import OpenQueue
from worker.delivery.ports import Clock
from worker.errors import SendasError
from worker.operations.dead_letters.bulk import look
from worker.operations.dead_letters.filter import FacetCounts, Selection
from worker.operations.dead_letters.letter import DeadLetter
from worker.operations.dead_letters.queue import DeadMessage

log = structlog.get_logger(__name__)

_FRESH_S = 20.0
_WAIT_S = 2.0
_MOST_PARTS = 8
_MOST_BYTES = 256 * 1024 * 1024
_BYTES_OF_ONE = 1_000  # in addition to its texts; measured


@dataclass(frozen=True, slots=True)
class Look:
    """The result of a scan. `total` counts the letters in the queue; of very many, only some are kept here."""

    letters: Sequence[DeadLetter] = ()
    total: int = 0
    at: datetime | None = None


Part = tuple[FacetCounts, Sequence[DeadLetter]]
"""What a selection matches in a scan: its counts and its letters."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a selection matches in a scan: its counts and one page of its letters."""

    look: Look
    census: FacetCounts
    letters: Sequence[DeadLetter]
    is_looking: bool
    problem: str | None


class Board:
    """Scans the queue when its data is stale, and returns parts of the scan."""

    def __init__(self, open_queue: OpenQueue, lock: asyncio.Lock, clock: Clock) -> None:
        self._open_queue = open_queue
        self._lock = lock
        self._clock = clock
        self._look = Look()
        self._parts: dict[Selection, Part] = {}
        self._looked_s = float("-inf")
        self._problem: str | None = None
        self._looking: asyncio.Task[None] | None = None

    def forget(self) -> None:
        """Mark the data as stale, so that the next request triggers a scan."""
        self._looked_s = float("-inf")

    async def show(self, selection: Selection, first: int, most: int) -> Shown:
        """The selected letters starting at `first`. A slow scan continues in the background."""
        if self._looking is None and self._clock.monotonic() - self._looked_s >= _FRESH_S and not self._lock.locked():
            self._looking = asyncio.create_task(self._look_through())
        if self._looking is not None:
            await asyncio.wait({self._looking}, timeout=_WAIT_S)
        look = self._look
        part = self._parts.get(selection)
        if part is None:
            part = await asyncio.to_thread(_part, look.letters, selection)
            if look is self._look:
                self._keep(selection, part)
        census, letters = part
        return Shown(look, census, letters[first : first + most], self._looking is not None, self._problem)

    async def close(self) -> None:
        """Cancel a running scan."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def _keep(self, selection: Selection, part: Part) -> None:
        """Cache a few selections' results, so that paging through them is free."""
        self._parts[selection] = part
        while len(self._parts) > _MOST_PARTS:
            del self._parts[next(iter(self._parts))]

    async def _look_through(self) -> None:
        try:
            async with self._lock, self._open_queue() as queue:
                seen = _Seen()
                await look(ConsiderateQueue(queue), Selection(), None, seen.see)
            self._look, self._problem = Look(seen.letters, seen.total, self._clock.now()), None
            self._parts.clear()
        except SendasError as error:
            self._problem = str(error)
        except Exception as error:
            log.exception("console.look_failed")
            self._problem = f"internal error: {type(error).__name__}"
        finally:
            self._looked_s = self._clock.monotonic()
            self._looking = None


class _Seen:
    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []
        self.total = 0
        self._bytes = 0

    def see(self, _: DeadMessage, letter: DeadLetter) -> None:
        self.total += 1
        self._bytes += _BYTES_OF_ONE + 2 * (len(letter.detail) + sum(map(len, letter.addresses)))
        if self._bytes <= _MOST_BYTES:
            self.letters.append(letter)


def _part(letters: Sequence[DeadLetter], selection: Selection) -> Part:
    matching = [letter for letter in letters if selection.matches(letter)]
    census = FacetCounts()
    for letter in matching:
        census.add(letter)
    return census, matching

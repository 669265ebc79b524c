"""Doing something with many dead letters: in bounded memory, at a bounded rate, and safe to interrupt at any moment.

Each letter is published, confirmed, and only then taken out of the queue: whatever ends the process in between, the
letter is in one of the two places, or in both; a second copy is dropped by the ledger, as the event's id is the same.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from worker.delivery.ports import Clock
from worker.errors import ConfigurationError
from worker.operations.dead_letters.digest import DIGEST_CHARS
from worker.operations.dead_letters.filter import Selection
from worker.operations.dead_letters.letter import DeadLetter, read_dead_letter
from worker.operations.dead_letters.queue import DeadLetterWindow, DeadMessage, DeadQueue
from worker.operations.dead_letters.replay_rules import Refusal

CONCURRENCY = 100
HOLD_S = 15 * 60.0
"""How long messages are held at a time; the broker takes them back by force after 30 minutes."""

_FINISH_S = 5.0

Sleep = Callable[[float], Awaitable[None]]


class BulkAction(Protocol):
    """What is done with each letter."""

    def refusal(self, message: DeadMessage, letter: DeadLetter) -> Refusal | None:
        """Why it cannot be done with this letter."""

    async def do(self, message: DeadMessage, letter: DeadLetter) -> None:
        """Do it; the letter leaves the queue when this returns."""


@dataclass(slots=True)
class RunStats:
    """How many letters were looked at, were dealt with (of which reasons, from which queues), and were refused why."""

    seen: int = 0
    done: int = 0
    by_reason: Counter[str] = field(default_factory=Counter)
    by_queue: Counter[str] = field(default_factory=Counter)
    refused: Counter[Refusal] = field(default_factory=Counter)

    @property
    def matched(self) -> int:
        """How many are meant, whether or not it could be done with them."""
        return self.done + self.refused.total()

    def add(self, letter: DeadLetter) -> None:
        """Count a letter that was dealt with."""
        self.done += 1
        self.by_reason[letter.reason] += 1
        self.by_queue[letter.queue or "unknown"] += 1


class RateLimiter:
    """Lets through at most so many a second; 0: as many as come."""

    def __init__(self, per_s: float, clock: Clock, sleep: Sleep) -> None:
        self._gap_s = 1 / per_s if per_s else 0.0
        self._clock = clock
        self._sleep = sleep
        self._next_s = clock.monotonic()

    async def wait(self) -> None:
        """Wait for the next place in time."""
        now_s = self._clock.monotonic()
        if self._next_s > now_s:
            await self._sleep(self._next_s - now_s)
        self._next_s = max(self._next_s, now_s) + self._gap_s


class Gate:
    """Lets a campaign go on, or has it pause with nothing in its hands."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    def pause(self) -> None:
        """Have the campaign give back what it holds, and wait."""
        self._open.clear()

    def go_on(self) -> None:
        """Let it go on with what is left."""
        self._open.set()

    async def wait(self) -> None:
        """Wait until it is open."""
        await self._open.wait()


class _Crew:
    """A bounded number of jobs at a time; the first error of one ends the whole."""

    def __init__(self, size: int) -> None:
        self._places = asyncio.Semaphore(size)
        self._jobs: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None

    async def start(self, job: Callable[[], Awaitable[None]]) -> None:
        """Start a job as soon as there is a place. Raises what an earlier one raised."""
        await self._places.acquire()
        self.check()
        task = asyncio.ensure_future(job())
        self._jobs.add(task)
        task.add_done_callback(self._ended)

    def check(self) -> None:
        """Raise what a job raised."""
        if self._error is not None:
            raise self._error

    def _ended(self, task: "asyncio.Future[None]") -> None:
        self._places.release()
        self._jobs.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._error = self._error or error

    async def finish(self, timeout_s: float | None) -> None:
        """Wait for the jobs that were started; those that take longer are cancelled, which loses no letter.

        Cancelled itself meanwhile, it waits for some seconds more: no job may outlive the taking of its letter.
        """
        try:
            await self._wait(timeout_s)
        except asyncio.CancelledError:
            await self._wait(_FINISH_S)
            raise
        finally:
            for job in set(self._jobs):
                job.cancel()
            await asyncio.gather(*self._jobs, return_exceptions=True)

    async def _wait(self, timeout_s: float | None) -> None:
        if self._jobs:
            await asyncio.wait(set(self._jobs), timeout=timeout_s)


class BulkRun:
    """One deed done with all letters of a selection."""

    def __init__(
        self,
        queue: DeadQueue,
        deed: BulkAction,
        selection: Selection,
        clock: Clock,
        *,
        limit: int | None = None,
        per_s: float = 0.0,
        sleep: Sleep = asyncio.sleep,
        on_progress: Callable[[RunStats], None] = lambda _: None,
        on_letter: Callable[[DeadLetter], None] = lambda _: None,
        gate: Gate | None = None,
    ) -> None:
        self.tally = RunStats()
        self._queue = queue
        self._deed = deed
        self._selection = selection
        self._clock = clock
        self._limit = limit
        self._started = 0
        self._pace = RateLimiter(per_s, clock, sleep)
        self._on_progress = on_progress
        self._on_letter = on_letter
        self._gate = gate or Gate()

    async def rehearse(self) -> RunStats:
        """Count what could be done and what could not; nothing is changed."""
        async with self._queue.take(await self._queue.size()) as taking:
            async for message in taking:
                if self._is_full():
                    break
                letter = self._wanted(message)
                taking.keep(message)
                if letter is not None:
                    self._started += 1
                    self.tally.add(letter)
        return self.tally

    async def run(self) -> RunStats:
        """Do it with the letters that are there now; later ones are not looked at.

        Safe to cancel: letters in work are finished within some seconds, all others stay in the queue. While the gate
        is shut, nothing is held: a pause may take as long as it likes.
        `tally` is right whatever happens.
        """
        left = await self._queue.size()
        is_through = left == 0
        while not is_through:
            await self._gate.wait()
            before = self.tally.done
            self.tally.seen = 0
            self.tally.refused.clear()  # those that stay are met again
            async with self._queue.take(left) as taking:
                is_through = await self._pass(taking)
            left -= self.tally.done - before
        return self.tally

    async def _pass(self, taking: DeadLetterWindow) -> bool:
        """Go through the queue; False when another pass has to follow: after a pause, or when messages were held for
        long enough.
        """
        until_s = self._clock.monotonic() + HOLD_S
        is_through = True
        patience_s: float | None = _FINISH_S  # cancelled, or without a broker, nobody wants to wait for ever
        crew = _Crew(CONCURRENCY)
        try:
            async for message in taking:
                if self._is_full():
                    break
                letter = self._wanted(message) if self._gate.is_open else None
                if letter is not None:
                    await self._pace.wait()
                if not self._gate.is_open:  # perhaps since a moment ago
                    taking.keep(message)
                    is_through = False
                    break
                if letter is None:
                    taking.keep(message)
                    continue
                self._started += 1
                await crew.start(partial(self._do, taking, message, letter))
                if self._clock.monotonic() >= until_s:
                    is_through = False
                    break
            patience_s = None
        finally:
            await crew.finish(patience_s)
        crew.check()
        return is_through

    def _is_full(self) -> bool:
        return self._limit is not None and self._started >= self._limit

    def _wanted(self, message: DeadMessage) -> DeadLetter | None:
        """The letter when it is meant and can go."""
        self.tally.seen += 1
        self._on_progress(self.tally)
        letter = read_dead_letter(message)
        self._on_letter(letter)
        if not self._selection.matches(letter):
            return None
        why_not = self._deed.refusal(message, letter)
        if why_not is not None:
            self.tally.refused[why_not] += 1
            return None
        return letter

    async def _do(self, taking: DeadLetterWindow, message: DeadMessage, letter: DeadLetter) -> None:
        try:
            await self._deed.do(message, letter)
            self.tally.add(letter)
            await taking.settle(message)
        except BaseException:  # also cancellation: what is not settled is held for nobody
            taking.keep(message)
            raise
        self._on_progress(self.tally)


_AMBIGUOUS_SHOWN = 5

See = Callable[[DeadMessage, DeadLetter], None]


async def look(
    queue: DeadQueue,
    selection: Selection,
    limit: int | None,
    see: See,
    on_letter: Callable[[DeadLetter], None] = lambda _: None,
) -> int:
    """Show `see` the letters of a selection, at most `limit`, as many as are there now; returns how many it saw.

    `on_letter` is told of every letter that is passed, whether or not it is meant.

    `see` must not wait for anybody: the broker takes the messages back when nothing is heard of us for long.
    """
    seen = 0
    async with queue.take(await queue.size()) as taking:
        async for message in taking:
            taking.keep(message)
            letter = read_dead_letter(message)
            on_letter(letter)
            if selection.matches(letter):
                see(message, letter)
                seen += 1
            if seen == limit:
                break
    return seen


async def with_whole_digest(queue: DeadQueue, selection: Selection) -> Selection:
    """The selection with the whole digest in the place of its beginning, before anything is done with what it means.

    Raises:
        ConfigurationError: letters that differ have digests that begin so.
    """
    if selection.digest is None or len(selection.digest) == DIGEST_CHARS:
        return selection
    found: set[str] = set()

    def note(_: DeadMessage, letter: DeadLetter) -> None:
        if len(found) < _AMBIGUOUS_SHOWN:
            found.add(letter.digest)

    await look(queue, Selection(digest=selection.digest), None, note)
    if len(found) > 1:
        raise ConfigurationError(
            f"--digest: letters that differ begin with {selection.digest}: {', '.join(sorted(found))}"
        )
    return replace(selection, digest=found.pop()) if found else selection

"""Bulk actions on dead letters: bounded memory, bounded rate, safe to interrupt at any moment.

Each letter is published and confirmed before it leaves the dead queue. If the process dies in between, the letter is
in one place or in both; the ledger drops the duplicate because the event id is the same.
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
"""How long messages are held at a time; the broker requeues them by force after 30 minutes."""

_FINISH_S = 5.0

Sleep = Callable[[float], Awaitable[None]]


class BulkAction(Protocol):
    """The action applied to each letter."""

    def refusal(self, message: DeadMessage, letter: DeadLetter) -> Refusal | None:
        """Why the action cannot be applied to this letter; None if it can."""

    async def do(self, message: DeadMessage, letter: DeadLetter) -> None:
        """Apply the action; the letter leaves the queue when this returns."""


@dataclass(slots=True)
class RunStats:
    """Counts of letters seen, handled (by reason and by queue), and refused (by cause)."""

    seen: int = 0
    done: int = 0
    by_reason: Counter[str] = field(default_factory=Counter)
    by_queue: Counter[str] = field(default_factory=Counter)
    refused: Counter[Refusal] = field(default_factory=Counter)

    @property
    def matched(self) -> int:
        """Number of letters that the selection matched, whether or not the action could be applied."""
        return self.done + self.refused.total()

    def add(self, letter: DeadLetter) -> None:
        """Count a handled letter."""
        self.done += 1
        self.by_reason[letter.reason] += 1
        self.by_queue[letter.queue or "unknown"] += 1


class RateLimiter:
    """Limits the rate per second; 0 means unlimited."""

    def __init__(self, per_s: float, clock: Clock, sleep: Sleep) -> None:
        self._gap_s = 1 / per_s if per_s else 0.0
        self._clock = clock
        self._sleep = sleep
        self._next_s = clock.monotonic()

    async def wait(self) -> None:
        """Wait for the next slot."""
        now_s = self._clock.monotonic()
        if self._next_s > now_s:
            await self._sleep(self._next_s - now_s)
        self._next_s = max(self._next_s, now_s) + self._gap_s


class Gate:
    """Pauses and resumes a bulk run; a paused run holds no messages."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    def pause(self) -> None:
        """Make the run return what it holds, and wait."""
        self._open.clear()

    def go_on(self) -> None:
        """Resume the run with the remaining letters."""
        self._open.set()

    async def wait(self) -> None:
        """Wait until the gate is open."""
        await self._open.wait()


class _Crew:
    """A bounded number of concurrent jobs; the first error stops them all."""

    def __init__(self, size: int) -> None:
        self._places = asyncio.Semaphore(size)
        self._jobs: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None

    async def start(self, job: Callable[[], Awaitable[None]]) -> None:
        """Start a job when a slot is free. Raises the error of an earlier job."""
        await self._places.acquire()
        self.check()
        task = asyncio.ensure_future(job())
        self._jobs.add(task)
        task.add_done_callback(self._ended)

    def check(self) -> None:
        """Raise the error of a failed job, if any."""
        if self._error is not None:
            raise self._error

    def _ended(self, task: "asyncio.Future[None]") -> None:
        self._places.release()
        self._jobs.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._error = self._error or error

    async def finish(self, timeout_s: float | None) -> None:
        """Wait for running jobs and cancel those that exceed the timeout, which loses no letter.

        If cancelled itself, wait a few more seconds: no job may outlive the window that holds its letter.
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
    """Applies one action to every letter of a selection."""

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
        """Count what the action could and could not be applied to; changes nothing."""
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
        """Apply the action to the letters in the queue now; later arrivals are ignored.

        Safe to cancel: letters in progress finish within seconds, all others stay in the queue. While the gate is shut
        nothing is held, so a pause may last any time.
        `tally` is correct at every moment.
        """
        left = await self._queue.size()
        is_through = left == 0
        while not is_through:
            await self._gate.wait()
            before = self.tally.done
            self.tally.seen = 0
            self.tally.refused.clear()  # the next pass meets them again
            async with self._queue.take(left) as taking:
                is_through = await self._pass(taking)
            left -= self.tally.done - before
        return self.tally

    async def _pass(self, taking: DeadLetterWindow) -> bool:
        """Go through the queue once; False if another must follow: after a pause or a long hold."""
        until_s = self._clock.monotonic() + HOLD_S
        is_through = True
        patience_s: float | None = _FINISH_S  # when cancelled, or without a broker, do not wait for ever
        crew = _Crew(CONCURRENCY)
        try:
            async for message in taking:
                if self._is_full():
                    break
                letter = self._wanted(message) if self._gate.is_open else None
                if letter is not None:
                    await self._pace.wait()
                if not self._gate.is_open:  # it may have shut a moment ago
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
        """The letter if the selection matches it and the action applies; None otherwise."""
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
        except BaseException:  # including cancellation: give back what is not settled
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
    """Pass the letters of a selection that are in the queue now to `see`, at most `limit`; returns how many it passed.

    `on_letter` receives every letter read, whether or not the selection matches it.

    `see` must not block: the broker requeues the messages if we stay silent for long.
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
    """Replace the selection's digest prefix by the whole digest, before acting on what it selects.

    Raises:
        ConfigurationError: the prefix matches letters with different digests.
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

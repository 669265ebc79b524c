"""Keeps the directory current: looks for a newer snapshot at an interval, when the file changes, and on request."""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from random import Random

from worker.adapters.snapshot.cache_directory import StateDirectory, is_undamaged
from worker.adapters.snapshot.compiler import InUse
from worker.adapters.snapshot.compiler_process import CompilationFailed, compile_in_child
from worker.adapters.snapshot.directory import CompiledDirectory
from worker.adapters.snapshot.file_source import Source, Unchanged
from worker.adapters.snapshot.problems import Problem, Refusal, RefusedDocument
from worker.delivery.ports import Clock
from worker.errors import InvalidSnapshot, Unavailable


class RefreshOutcome(StrEnum):
    """Result of a look for a newer snapshot; a closed list, for metrics. The last five are the `Refusal`s."""

    RENEWED = "renewed"
    UNCHANGED = "unchanged"
    UNAVAILABLE = "unavailable"
    FAILED = "failed"
    UNREADABLE = "unreadable"
    WRONG_SCHEMA = "wrong_schema"
    INVALID = "invalid"
    OLDER = "older"
    TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True)
class Refresh:
    """One look at the source, for log and metrics.

    `message` says why no new snapshot is served, without secrets. `version`, `accounts` and `left_out` describe the
    snapshot served now, None and 0 before the first; `problems` are the first ones of a new snapshot.
    """

    outcome: RefreshOutcome
    message: str
    duration_s: float
    version: int | None
    accounts: int
    left_out: int
    problems: Sequence[Problem] = ()


_PROBLEMS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to look. Waits vary by a fifth, so that workers do not all ask at once.

    `min_pause_s` throttles a flood of `refresh` calls; the pause also lasts at least as long as the previous look took.
    `first_interval_s` applies until there is a first snapshot.
    """

    interval_s: float = 60.0
    first_interval_s: float = 5.0
    min_pause_s: float = 2.0
    compile_timeout_s: float = 900.0


class SnapshotRefresher:
    """Serves the last good snapshot, and replaces it atomically when the source has a newer one.

    Args:
        source: where documents come from; closed together with the refresher.
        state_directory: where compiled snapshots are kept; workers of a host may share it.
        observe: called after every look; must not raise.
        reference_accounts: accounts that may name variables and files as secrets; others that do are left out.
    """

    def __init__(
        self,
        source: Source,
        state_directory: Path,
        clock: Clock,
        observe: Callable[[Refresh], None],
        schedule: Schedule = Schedule(),
        random: Random | None = None,
        *,
        reference_accounts: frozenset[str] = frozenset(),
    ) -> None:
        self._source = source
        self._state = StateDirectory(state_directory, source.name, reference_accounts)
        self._clock = clock
        self._observe = observe
        self._schedule = schedule
        self._random = random or Random()  # noqa: S311 - spreads load, protects nothing
        self._directory: CompiledDirectory | None = None
        self._confirmed_at = datetime.min.replace(tzinfo=UTC)
        self._ready = asyncio.Event()
        self._tag: str | None = None
        self._refused: tuple[Refusal, str] | None = None
        self._wake = asyncio.Event()
        self._asked: asyncio.Future[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None

    @property
    def directory(self) -> CompiledDirectory:
        """The snapshot to use for one event from start to finish.

        Raises:
            Unavailable: there is none yet; see `wait_until_ready`.
        """
        if self._directory is None:
            raise Unavailable("there is no configuration snapshot yet")
        return self._directory

    @property
    def is_ready(self) -> bool:
        return self._directory is not None

    @property
    def version(self) -> int | None:
        return None if self._directory is None else self._directory.version

    @property
    def left_out(self) -> int:
        return 0 if self._directory is None else self._directory.left_out

    @property
    def age_s(self) -> float | None:
        """Seconds since the source last confirmed the served snapshot, across restarts; None before the first."""
        if self._directory is None:
            return None
        return max(0.0, (self._clock.now() - self._confirmed_at).total_seconds())

    async def start(self) -> None:
        """Serve this host's last good snapshot, if any, and start looking for newer ones."""
        await self._serve_last_good()
        self._wake.set()
        self._watching = asyncio.create_task(self._watch(), name="snapshot-watch")
        self._keeping = asyncio.create_task(self._keep(), name="snapshot-refresh")

    async def wait_until_ready(self) -> None:
        """Return when there is a snapshot to serve."""
        await self._ready.wait()

    async def refresh(self) -> None:
        """Look for a newer snapshot now; concurrent calls share one look. Never raises: the last good one stays in use.

        The look starts after the call: one already under way may have read the source before it changed.
        """
        if self._keeping is None or self._keeping.done():  # not started yet, or closed: no task would answer
            return
        if self._asked is None:
            self._asked = asyncio.get_running_loop().create_future()
        self._wake.set()
        await asyncio.shield(self._asked)  # a caller that gives up must not cancel the look for the others

    async def close(self) -> None:
        """Stop looking, and stop the compiler if it runs. Directories already handed out stay usable."""
        tasks = [task for task in (self._watching, self._keeping) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._answer(self._asked)
        await self._source.close()

    async def _serve_last_good(self) -> None:
        opened = await asyncio.to_thread(self._open_last_good)
        if opened is not None:
            self._directory, self._confirmed_at = opened
            self._ready.set()

    def _open_last_good(self) -> tuple[CompiledDirectory, datetime] | None:
        for path in self._state.candidates():
            with suppress(InvalidSnapshot, OSError):
                confirmed_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                if is_undamaged(path):
                    return CompiledDirectory(path), confirmed_at
        return None

    async def _watch(self) -> None:
        while True:
            try:
                async for _ in self._source.changes():
                    self._wake.set()
                return
            except OSError:  # the file's directory is not there yet, for example; the interval looks anyway
                await asyncio.sleep(self._schedule.interval_s)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        asked: asyncio.Future[None] | None = None
        try:
            while True:
                await self._until_wanted()
                self._wake.clear()
                asked, self._asked = self._asked, None
                started_s = loop.time()
                look = await self._look(started_s)
                self._observe(look)
                self._answer(asked)
                await asyncio.sleep(max(self._schedule.min_pause_s, look.duration_s))
        finally:
            self._answer(asked)
            self._answer(self._asked)

    async def _until_wanted(self) -> None:
        interval_s = self._schedule.interval_s if self.is_ready else self._schedule.first_interval_s
        with suppress(TimeoutError):
            async with asyncio.timeout(interval_s * self._random.uniform(0.8, 1.2)):
                await self._wake.wait()

    @staticmethod
    def _answer(asked: asyncio.Future[None] | None) -> None:
        if asked is not None and not asked.done():
            asked.set_result(None)

    async def _look(self, started_s: float) -> Refresh:
        problems: Sequence[Problem] = ()
        message = ""
        try:
            renewed = await self._renew()
            outcome = RefreshOutcome.UNCHANGED if renewed is None else RefreshOutcome.RENEWED
            problems = renewed or ()
        except RefusedDocument as error:
            outcome, message = RefreshOutcome(error.refusal.value), str(error)
        except Unavailable as error:
            outcome, message = RefreshOutcome.UNAVAILABLE, str(error)
        except (CompilationFailed, InvalidSnapshot) as error:
            outcome, message = RefreshOutcome.FAILED, str(error)
        except OSError as error:
            outcome, message = RefreshOutcome.FAILED, error.strerror or type(error).__name__
        except Exception as error:  # noqa: BLE001 - a bug in here must neither stop the refresher for good nor stay silent
            outcome, message = RefreshOutcome.FAILED, f"internal error: {type(error).__name__}"
        duration_s = asyncio.get_running_loop().time() - started_s
        accounts = 0 if self._directory is None else self._directory.accounts
        return Refresh(outcome, message, duration_s, self.version, accounts, self.left_out, problems)

    async def _renew(self) -> Sequence[Problem] | None:
        """Fetch and serve the newest snapshot; return its first problems, or None when it is already served."""
        served = self._directory
        if served is not None and served.is_damaged:
            self._tag = None
        unfinished = await asyncio.to_thread(self._state.unfinished)
        try:
            document = await self._source.fetch(self._tag, unfinished)
            if isinstance(document, Unchanged):
                if self._refused is not None:
                    raise RefusedDocument(*self._refused)
                path = None
            else:
                self._tag, self._refused = None, None
                path = await self._compile(document.path, document.tag)
        finally:
            await asyncio.to_thread(unfinished.unlink, missing_ok=True)
        problems = None
        if path is not None:
            self._directory, problems = await asyncio.to_thread(_opened, path)
            self._ready.set()
        if not isinstance(document, Unchanged):  # only now: a snapshot that could not be opened must be read again
            self._tag = document.tag
        await self._confirm(self.directory.path, is_new=path is not None)
        return problems

    async def _compile(self, document: Path, tag: str | None) -> Path | None:
        served = self._directory
        in_use = None
        if served is not None:
            digest = "" if served.is_damaged else served.digest  # a damaged one is compiled again
            in_use = InUse(version=served.version, generated_at=served.generated_at, digest=digest)
        try:
            return await compile_in_child(document, self._state, in_use, self._schedule.compile_timeout_s)
        except RefusedDocument as refused:
            # Until the source has another document, nothing needs to be read again.
            self._tag, self._refused = tag, (refused.refusal, str(refused))
            raise

    async def _confirm(self, path: Path, *, is_new: bool) -> None:
        """Record when the source last confirmed the served snapshot: the file's mtime survives a restart."""
        self._confirmed_at = self._clock.now()
        confirmed_at_s = self._confirmed_at.timestamp()
        with suppress(OSError):  # another worker may have removed the file; it is open and serves on
            await asyncio.to_thread(os.utime, path, (confirmed_at_s, confirmed_at_s))
            if is_new:
                await asyncio.to_thread(self._state.clean, path)


def _opened(path: Path) -> tuple[CompiledDirectory, Sequence[Problem]]:
    """A directory and its first problems, read before the event loop takes over: one thread at a time may use it."""
    directory = CompiledDirectory(path)
    return directory, directory.problems(_PROBLEMS_SHOWN)

"""One action on dead letters, from dry run to completion, with a URL of its own."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from worker.operations.dead_letters.bulk import Gate, RunStats
from worker.operations.dead_letters.filter import Selection
from worker.operations.dead_letters.replay_rules import ReplayRules


class Kind(StrEnum):
    """The kind of action."""

    REPLAY = "replay"
    DISCARD = "discard"


class Phase(StrEnum):
    """The job's state."""

    COUNTING = "counting"
    COUNTED = "counted"
    ACTING = "acting"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


class LeavingGate(Gate):
    """The gate of an action that holds the queue exclusively, and releases it while paused."""

    def __init__(self, queue: asyncio.Lock) -> None:
        super().__init__()
        self._queue = queue
        self._is_mine = False

    async def enter(self) -> None:
        """Wait for the queue."""
        await self._queue.acquire()
        self._is_mine = True

    def leave(self) -> None:
        """Release the queue if it is held."""
        if self._is_mine:
            self._is_mine = False
            self._queue.release()

    async def wait(self) -> None:
        if not self.is_open:
            self.leave()
            await super().wait()
            await self.enter()


@dataclass(slots=True)
class Job:
    """A job. `counted` is the dry run's tally, `tally` the action's; `total`: letters in the queue at its start.

    `is_stopping`: a stop was requested and the job is returning what it holds, which takes seconds in a long queue.
    `problem`: an error in the selection, or what ended the action early. The action's audit event has the job's id.
    """

    kind: Kind
    planner: str
    selection: Selection
    rules: ReplayRules
    began_at: datetime
    id: str
    gate: LeavingGate
    phase: Phase = Phase.COUNTING
    operator: str | None = None
    why: str = ""
    rate: float = 0.0
    total: int = 0
    counted: RunStats = field(default_factory=RunStats)
    tally: RunStats = field(default_factory=RunStats)
    problem: str | None = None
    ended_at: datetime | None = None
    is_stopping: bool = False
    task: "asyncio.Task[None] | None" = None

    @property
    def is_busy(self) -> bool:
        """Whether it is running, or paused while running."""
        return self.phase in (Phase.COUNTING, Phase.ACTING)

    @property
    def is_paused(self) -> bool:
        return self.phase is Phase.ACTING and not self.gate.is_open

    @property
    def words(self) -> Mapping[str, str]:
        """The selection, in the form the audit event records it."""
        words = self.selection.words()
        if self.selection.digests is not None:
            words["digests"] = str(len(self.selection.digests))
        return words


class Jobs:
    """The latest jobs of this process; active ones are never evicted."""

    def __init__(self, most: int = 100) -> None:
        self._most = most
        self._jobs: dict[str, Job] = {}

    def add(self, job: Job) -> None:
        """Add a job, evicting the oldest inactive one if necessary."""
        at_rest = [key for key, each in self._jobs.items() if not each.is_busy]
        for key in at_rest[: max(len(self._jobs) - self._most + 1, 0)]:
            del self._jobs[key]
        self._jobs[job.id] = job

    def find(self, key: str) -> Job | None:
        """The job with this id."""
        return self._jobs.get(key)

    def latest(self) -> list[Job]:
        """All jobs, newest first."""
        return list(reversed(self._jobs.values()))

"""One act on dead letters, from its dry run to its end, with an address of its own."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from worker.operations.dead_letters.bulk import Gate, RunStats
from worker.operations.dead_letters.filter import Selection
from worker.operations.dead_letters.replay_rules import ReplayRules


class Kind(StrEnum):
    """What is done."""

    REPLAY = "replay"
    DISCARD = "discard"


class Phase(StrEnum):
    """Where it stands."""

    COUNTING = "counting"
    COUNTED = "counted"
    ACTING = "acting"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


class LeavingGate(Gate):
    """The gate of an act that has the queue to itself, and leaves it to others while it is paused."""

    def __init__(self, queue: asyncio.Lock) -> None:
        super().__init__()
        self._queue = queue
        self._is_mine = False

    async def enter(self) -> None:
        """Wait for the queue."""
        await self._queue.acquire()
        self._is_mine = True

    def leave(self) -> None:
        """Leave the queue, unless that is done already."""
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
    """An act. `counted`: the dry run's tally; `tally`: of what was done; `total`: letters in the queue when it began.

    `is_stopping`: it was told to stop, and gives back what it holds, which takes seconds in a long queue.
    `problem`: what is wrong with the selection, or what ended the act before its end. The act's audit event has the
    job's id.
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
        """Whether it is at work, or paused in its work."""
        return self.phase in (Phase.COUNTING, Phase.ACTING)

    @property
    def is_paused(self) -> bool:
        return self.phase is Phase.ACTING and not self.gate.is_open

    @property
    def words(self) -> Mapping[str, str]:
        """The selection, as the audit tells it."""
        words = self.selection.words()
        if self.selection.digests is not None:
            words["digests"] = str(len(self.selection.digests))
        return words


class Jobs:
    """The latest jobs of this process; those at work are never forgotten."""

    def __init__(self, most: int = 100) -> None:
        self._most = most
        self._jobs: dict[str, Job] = {}

    def add(self, job: Job) -> None:
        """Keep a job; the oldest that is at rest makes room."""
        at_rest = [key for key, each in self._jobs.items() if not each.is_busy]
        for key in at_rest[: max(len(self._jobs) - self._most + 1, 0)]:
            del self._jobs[key]
        self._jobs[job.id] = job

    def find(self, key: str) -> Job | None:
        """The job of this id."""
        return self._jobs.get(key)

    def latest(self) -> list[Job]:
        """All of them, the newest first."""
        return list(reversed(self._jobs.values()))

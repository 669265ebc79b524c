"""In-memory doubles of the console's ports."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.doubles.dead_queue import MemoryDeadQueue
from tests.doubles.directory import MemoryDirectory
from worker.adapters.snapshot.problems import Problem
from worker.adapters.worker_status import WorkerStatus
from worker.domain.snapshot.model import Account
from worker.errors import Unavailable
from worker.operations.dead_letters.queue import DeadQueue


@dataclass
class MemorySnapshots:
    """Implements both `Snapshots` and `Directory`."""

    accounts_: MemoryDirectory
    left_out_: Sequence[Problem] = ()
    generated_at: datetime = datetime(2026, 11, 23, 9, 59, tzinfo=UTC)
    refreshed: int = 0

    @property
    def directory(self) -> "MemorySnapshots":
        return self

    @property
    def age_s(self) -> float:
        return 12.0

    async def refresh(self) -> None:
        self.refreshed += 1

    @property
    def version(self) -> int:
        return self.accounts_.version

    @property
    def accounts(self) -> int:
        return len(self.accounts_.accounts) + len(self.left_out_)

    @property
    def left_out(self) -> int:
        return len(self.left_out_)

    def account(self, account_id: str) -> Account | None:
        return self.accounts_.account(account_id)

    def is_left_out(self, account_id: str) -> bool:
        return self.accounts_.is_left_out(account_id)

    def problems(self, limit: int) -> Sequence[Problem]:
        return self.left_out_[:limit]


@dataclass
class FixedWorkers:
    """Implements `Workers`."""

    looks: Sequence[WorkerStatus] = (WorkerStatus("worker-0:8080", [], 3, 12.0), WorkerStatus("worker-1:8080", None))

    async def look(self) -> Sequence[WorkerStatus]:
        return self.looks


@dataclass
class FixedDepths:
    """Implements `Depths`."""

    depths: Mapping[tuple[str, ...], float] = field(
        default_factory=lambda: {("sendas.outbound", "work"): 5.0, ("sendas.dead", "dead"): 2.0}
    )

    def messages(self) -> Mapping[tuple[str, ...], float]:
        return self.depths


@dataclass
class OpenedQueue:
    """Opens an in-memory queue; while `is_away`, the broker does not answer."""

    queue: MemoryDeadQueue
    is_away: bool = False

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[DeadQueue]:
        if self.is_away:
            raise Unavailable("the broker does not answer")
        yield self.queue

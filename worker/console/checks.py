"""Current and recent mailbox checks, each with its steps as they end."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

import structlog

from worker.background import cancelled
from worker.console.ports import Checks
from worker.delivery.mailboxes.state import MailboxKey
from worker.delivery.ports import Clock
from worker.domain.results.models import CheckStepResult
from worker.domain.snapshot.model import Mailbox
from worker.errors import SendasError
from worker.operations.mailbox_check.check import is_good
from worker.operations.mailbox_check.ports import Subject

_MOST_KEPT = 100

log = structlog.get_logger(__name__)


class TooManyChecks(SendasError):
    """The maximum number of checks is running."""


@dataclass(slots=True)
class RunningCheck:
    """A check. `steps` are the completed ones by name, in order of completion."""

    id: str
    key: MailboxKey
    address: str
    began_at: datetime
    steps: dict[str, CheckStepResult] = field(default_factory=dict)
    is_done: bool = False
    is_good: bool = False
    problem: str | None = None
    task: "asyncio.Task[None] | None" = None


class MailboxChecks:
    """Runs up to `most` checks at a time."""

    def __init__(self, check: Checks, clock: Clock, most: int) -> None:
        self._check = check
        self._clock = clock
        self._most = most
        self._checks: dict[str, RunningCheck] = {}

    def start(self, key: MailboxKey, mailbox: Mailbox) -> RunningCheck:
        """Start checking a mailbox of the snapshot. Raises `TooManyChecks`."""
        if sum(not each.is_done for each in self._checks.values()) >= self._most:
            raise TooManyChecks("too many checks are running: wait until one has ended")
        while len(self._checks) >= _MOST_KEPT:
            oldest = next(name for name, each in self._checks.items() if each.is_done)
            del self._checks[oldest]
        running = RunningCheck(str(uuid4()), key, mailbox.address, self._clock.now())
        self._checks[running.id] = running
        subject = Subject(account_id=key.account_id, mailbox=mailbox, key=uuid4().hex, is_trusted=True)
        running.task = asyncio.create_task(self._run(running, subject))
        return running

    def find(self, name: str) -> RunningCheck | None:
        """The check with this id."""
        return self._checks.get(name)

    async def close(self) -> None:
        """Cancel all running checks."""
        await cancelled(*(each.task for each in self._checks.values() if each.task is not None))

    async def _run(self, running: RunningCheck, subject: Subject) -> None:
        def note(step: CheckStepResult) -> None:
            running.steps[step.name] = step

        try:
            steps = await self._check.run(subject, note)
            running.steps = {step.name: step for step in steps}
            running.is_good = is_good(steps)
        except Exception as error:
            log.exception("console.check_failed")
            running.problem = f"internal error: {type(error).__name__}"
        finally:
            running.is_done = True

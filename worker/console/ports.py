"""Ports of the pages; `wiring` supplies the adapters, tests their doubles."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from starlette.requests import Request

from worker.console.auth.people import Person
from worker.domain.results.models import CheckStepResult
from worker.domain.snapshot.model import Account
from worker.operations.dead_letters.queue import DeadQueue
from worker.operations.mailbox_check.ports import Subject
from worker.operations.mailbox_check.steps import OnStep

OpenQueue = Callable[[], AbstractAsyncContextManager[DeadQueue]]
"""Opens the dead queue on a connection of its own. Raises `Unavailable` when the broker does not answer in time."""


class SignIn(Protocol):
    """Identifies the person behind a request."""

    @property
    def can_end(self) -> bool:
        """Whether the person can sign out."""

    def who(self, request: Request) -> tuple[Person, str] | None:
        """The person and their CSRF token; None without a session or if the person's rights were revoked."""


class LeftOut(Protocol):
    """A problem with an account of the snapshot."""

    @property
    def account_id(self) -> str | None: ...

    @property
    def path(self) -> str: ...

    @property
    def message(self) -> str: ...


class Directory(Protocol):
    """A configuration snapshot."""

    @property
    def version(self) -> int: ...

    @property
    def generated_at(self) -> datetime: ...

    @property
    def accounts(self) -> int: ...

    @property
    def left_out(self) -> int: ...

    def account(self, account_id: str) -> Account | None: ...

    def is_left_out(self, account_id: str) -> bool: ...

    def problems(self, limit: int) -> Sequence[LeftOut]: ...


class Snapshots(Protocol):
    """The current snapshot. `directory` raises `Unavailable` until there is one."""

    @property
    def directory(self) -> Directory: ...

    @property
    def age_s(self) -> float | None: ...

    async def refresh(self) -> None: ...


class Checks(Protocol):
    """Checks a mailbox (`operations.mailbox_check.check.MailboxCheck`)."""

    async def run(self, subject: Subject, on_step: OnStep) -> tuple[CheckStepResult, ...]: ...


class WorkerStatus(Protocol):
    """What a worker reports about itself: `problems` as in `/readyz`; None if it does not answer.

    `in_flight` counts messages in progress; `oldest_s` is the age of the oldest unfinished event.
    """

    @property
    def name(self) -> str: ...

    @property
    def problems(self) -> Sequence[str] | None: ...

    @property
    def in_flight(self) -> int: ...

    @property
    def oldest_s(self) -> float: ...

    @property
    def is_ready(self) -> bool: ...


class Workers(Protocol):
    """The workers at the configured URLs."""

    async def look(self) -> Sequence[WorkerStatus]:
        """Query all workers, within a few seconds; empty if no URLs are configured."""


class Depths(Protocol):
    """Queue depths (`adapters.broker.depths.QueueDepths`)."""

    def messages(self) -> Mapping[tuple[str, ...], float]: ...

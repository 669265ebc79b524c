"""What the pages need of the world; `wiring` gives them the real one, tests their doubles."""

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
    """Who a request is from."""

    @property
    def can_end(self) -> bool:
        """Whether signing out means anything here."""

    def who(self, request: Request) -> tuple[Person, str] | None:
        """The person and their CSRF token; None: there is no session, or the person has no rights any more."""


class LeftOut(Protocol):
    """What is wrong with an account of the snapshot."""

    @property
    def account_id(self) -> str | None: ...

    @property
    def path(self) -> str: ...

    @property
    def message(self) -> str: ...


class Directory(Protocol):
    """A snapshot of the configuration."""

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
    """The snapshot in use. `directory` raises `Unavailable` as long as there is none."""

    @property
    def directory(self) -> Directory: ...

    @property
    def age_s(self) -> float | None: ...

    async def refresh(self) -> None: ...


class Checks(Protocol):
    """The check of a mailbox (`operations.mailbox_check.check.MailboxCheck`)."""

    async def run(self, subject: Subject, on_step: OnStep) -> tuple[CheckStepResult, ...]: ...


class WorkerLook(Protocol):
    """What a worker says of itself: `problems` as `/readyz` has them; None: it does not answer.

    `in_flight`: messages in work; `oldest_s`: age of the oldest unfinished event.
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
    """The workers at the configured addresses."""

    async def look(self) -> Sequence[WorkerLook]:
        """All of them, within some seconds; empty when no addresses are configured."""


class Depths(Protocol):
    """How many messages wait in the queues (`adapters.broker.depths.QueueDepths`)."""

    def messages(self) -> Mapping[tuple[str, ...], float]: ...

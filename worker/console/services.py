"""The services that pages use, created once per process."""

from dataclasses import dataclass

from starlette.requests import Request

from worker.console.checks import MailboxChecks
from worker.console.dead_letters import DeadLetterDesk
from worker.console.mailboxes import MailboxDesk
from worker.console.metrics import ConsoleMetrics
from worker.console.ports import Depths, SignIn, Snapshots, Workers
from worker.console.record import ActRecord
from worker.delivery.ports import Clock
from worker.history.port import History


@dataclass(frozen=True, slots=True)
class Services:
    """Services for pages. `history` None means that it is off. `is_tls`: whether people reach the console over TLS."""

    sign_in: SignIn
    history: History | None
    dead_letters: DeadLetterDesk
    mailboxes: MailboxDesk
    checks: MailboxChecks
    snapshots: Snapshots
    workers: Workers
    depths: Depths
    record: ActRecord
    metrics: ConsoleMetrics
    clock: Clock
    is_tls: bool


def services_of(request: Request) -> Services:
    """The services of the request's application."""
    services: Services = request.app.state.services
    return services

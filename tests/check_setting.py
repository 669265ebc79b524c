"""What tests of mailbox checks share: the check wired to servers on loopback, and mailboxes to check."""

import ssl
from dataclasses import dataclass, field
from typing import Any

from tests.builders import a_mailbox
from tests.doubles.name_server import TableNameServer
from tests.imap_setting import NamedCredentials
from worker.adapters.auth.credentials import Credentials
from worker.adapters.clock import SystemClock
from worker.adapters.dkim import DkimSignatures
from worker.adapters.imap.connection import ImapTimeouts
from worker.adapters.network.egress import EgressGuard, Resolver, SystemResolver
from worker.adapters.probes import ServerProbes
from worker.adapters.smtp.progress import Timeouts
from worker.domain.egress import EgressPolicy, parse_allowlist
from worker.domain.results.models import CheckStepResult
from worker.domain.snapshot.model import Mailbox
from worker.operations.mailbox_check.check import CheckLimits, MailboxCheck
from worker.operations.mailbox_check.ports import NameServer, Subject

PATIENT_SMTP = Timeouts(
    connect_s=10, greeting_s=10, tls_s=10, command_s=10, reset_s=10, mail_s=10, rcpt_s=10, data_s=10, answer_s=10
)
PATIENT_IMAP = ImapTimeouts(connect_s=10, tls_s=10, greeting_s=10, sign_in_s=10, command_s=10, logout_s=5)


@dataclass
class CheckSetting:
    """A check over real connections on loopback; what a test changes, it changes before it asks for the check."""

    tls: ssl.SSLContext
    names: NameServer = field(default_factory=TableNameServer)
    credentials: Credentials = field(default_factory=NamedCredentials)
    resolver: Resolver | None = None
    allow: str = "127.0.0.0/8,::1/128"
    allow_plaintext: bool = True
    smtp_timeouts: Timeouts = PATIENT_SMTP
    imap_timeouts: ImapTimeouts = PATIENT_IMAP
    limits: CheckLimits = field(default_factory=lambda: CheckLimits(read_back_s=20, read_again_s=0.05))

    async def run(self, subject: Subject) -> dict[str, CheckStepResult]:
        """The steps by their names."""
        system = SystemResolver()
        guard = EgressGuard(EgressPolicy(parse_allowlist(self.allow)), self.resolver or system)
        visitors = ServerProbes(
            guard,
            self.credentials,
            self.tls,
            "worker.sendas.example",
            self.allow_plaintext,
            self.smtp_timeouts,
            self.imap_timeouts,
        )
        check = MailboxCheck(visitors, self.names, DkimSignatures(), SystemClock(), self.limits)
        steps = await check.run(subject)
        system.close()
        return {step.name: step for step in steps}


def a_subject(mailbox: Mailbox | None = None, **fields: Any) -> Subject:
    """A trusted mailbox, without a test letter."""
    standard: dict[str, Any] = {"account_id": "acme", "mailbox": mailbox or a_mailbox(), "key": "check-1"}
    return Subject(**standard | {"is_trusted": True} | fields)


def outcomes(steps: dict[str, CheckStepResult]) -> dict[str, bool | None]:
    """How each step ended."""
    return {name: step.ok for name, step in steps.items()}


def failures(steps: dict[str, CheckStepResult]) -> dict[str, str | None]:
    """The steps that failed, with their reasons."""
    return {name: step.reason and step.reason.value for name, step in steps.items() if step.ok is False}

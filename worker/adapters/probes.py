"""Probes mail servers for mailbox checks, with the same guard, TLS and credentials as letters and copies."""

import ssl
import time
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from worker.adapters.auth.credentials import Credentials, SealedOnlyCredentials
from worker.adapters.imap.connection import ImapTimeouts
from worker.adapters.imap.probe import ImapProbe, ImapProber
from worker.adapters.network.egress import EgressGuard, GuardedDialer
from worker.adapters.network.tls import PLAINTEXT_REFUSED
from worker.adapters.smtp.probe import SmtpProbe, smtp_visit
from worker.adapters.smtp.progress import Timeouts
from worker.adapters.smtp.session import Opener
from worker.delivery.ports import Route
from worker.domain.egress import IMAP_PORTS, SMTP_PORTS
from worker.domain.snapshot.model import Auth, ImapServer
from worker.domain.vocabulary import Security

# A person waits for the answer: shorter than for letters, but long enough for servers that delay their greeting.
SMTP_TIMEOUTS = Timeouts(
    connect_s=10,
    greeting_s=20,
    tls_s=10,
    command_s=20,
    reset_s=5,
    mail_s=20,
    rcpt_s=30,
    data_s=20,
    upload_s=20,
    answer_s=60,
)
IMAP_TIMEOUTS = ImapTimeouts(connect_s=10, tls_s=10, greeting_s=20, sign_in_s=20, command_s=20)


@dataclass(frozen=True, slots=True)
class ServerProbes:
    """See `operations.mailbox_check.ports.Visitors`."""

    guard: EgressGuard
    credentials: Credentials
    tls: ssl.SSLContext
    local_hostname: str
    allow_plaintext: bool
    smtp_timeouts: Timeouts = SMTP_TIMEOUTS
    imap_timeouts: ImapTimeouts = IMAP_TIMEOUTS

    def smtp(self, route: Route, *, is_trusted: bool) -> AbstractAsyncContextManager[SmtpProbe]:
        """A visit to the SMTP server of a route."""
        dialer = GuardedDialer(self.guard, SMTP_PORTS)
        opener = Opener(dialer, self._credentials(is_trusted), self.tls, self.local_hostname, self.smtp_timeouts)
        is_refused = route.smtp.security is Security.NONE and not self.allow_plaintext
        return smtp_visit(opener, self.guard, route, PLAINTEXT_REFUSED if is_refused else None, time.monotonic)

    def imap(
        self, account_id: str, server: ImapServer, auth: Auth, *, is_trusted: bool
    ) -> AbstractAsyncContextManager[ImapProbe]:
        """A visit to an IMAP server."""
        visitor = ImapProber(
            self.guard,
            GuardedDialer(self.guard, IMAP_PORTS),
            self._credentials(is_trusted),
            self.tls,
            self.imap_timeouts,
            None if self.allow_plaintext else PLAINTEXT_REFUSED,
        )
        return visitor.visit(account_id, server, auth)

    def _credentials(self, is_trusted: bool) -> Credentials:
        return self.credentials if is_trusted else SealedOnlyCredentials(self.credentials)

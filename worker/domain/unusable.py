"""Settings that are well formed and cannot work: the worker serves the account, and the mailbox fails."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from worker.domain.egress import IMAP_PORTS, SMTP_PORTS, EgressPolicy
from worker.domain.hosts import parse_host
from worker.domain.secret_references import reference_problem
from worker.domain.snapshot import Auth, ImapServer, Mailbox, NoAuth, OAuthAuth, SmtpServer, named_secrets
from worker.domain.vocabulary import CopyMode, Security

Place = tuple[str, str]
"""A path below the mailbox or the relay, and what is wrong there."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the operator's settings let the worker do. `connections`: the most that it has with any one mailbox."""

    plaintext: bool = False
    egress: EgressPolicy = field(default_factory=EgressPolicy)
    env_prefix: str = "SENDAS_SECRET_"
    reference_accounts: frozenset[str] = frozenset()
    relay_egress: EgressPolicy | None = None
    connections: int = 20

    @property
    def of_relay(self) -> "Allowed":
        """The same for the platform's relay, which may be where no customer's server may."""
        return self if self.relay_egress is None else replace(self, egress=self.relay_egress)


def unusable_in_server(server: SmtpServer, allowed: Allowed) -> Iterator[Place]:
    """What keeps an SMTP server, a mailbox's or the relay, from being used; paths begin below the server."""
    yield from _unreachable(server, SMTP_PORTS, allowed)
    yield from _unusable_auth(server.auth, allowed)


def unusable_in_mailbox(mailbox: Mailbox, allowed: Allowed) -> Iterator[Place]:
    """What keeps the mailbox from sending, or its copies from being saved."""
    for path, message in unusable_in_server(mailbox.smtp, allowed):
        yield f"smtp.{path}", message
    copy = mailbox.sent_copy
    if copy.mode is CopyMode.NEVER:
        return
    if copy.imap is not None:
        for path, message in _unusable_imap(copy.imap, mailbox.smtp.auth, allowed):
            yield f"sent_copy.imap.{path}", message
    elif copy.mode is CopyMode.ALWAYS:
        yield "sent_copy.imap", "is missing: copies are asked for (mode always), and there is no server for them"


def _unusable_imap(server: ImapServer, smtp_auth: Auth, allowed: Allowed) -> Iterator[Place]:
    if server.security is Security.STARTTLS:
        yield "security", "starttls is not supported for IMAP: use tls, usually on port 993"
    yield from _unreachable(server, IMAP_PORTS, allowed)
    if isinstance(server.auth or smtp_auth, NoAuth):
        yield "auth", "IMAP needs a sign-in, and none is configured"
    if server.auth is not None:
        yield from _unusable_auth(server.auth, allowed)


def _unreachable(server: SmtpServer | ImapServer, ports: frozenset[int], allowed: Allowed) -> Iterator[Place]:
    if server.security is Security.NONE and not allowed.plaintext:
        yield "security", "none is not allowed here: use tls or starttls (the operator's SENDAS_ALLOW_PLAINTEXT)"
    try:
        host = parse_host(server.host)
    except ValueError as error:
        yield "host", str(error)
        return
    if isinstance(host, str):
        if allowed.egress.hides(host) and not allowed.egress.allowed:
            yield "host", "is a name of an internal network: it is not connected to (SENDAS_EGRESS_ALLOW)"
        is_known_port = server.port in ports or any(server.port in rule.ports for rule in allowed.egress.allowed)
        if not is_known_port and not any(not rule.ports for rule in allowed.egress.allowed):
            yield "port", f"{server.port} is not one of {', '.join(map(str, sorted(ports)))}: it is not connected to"
    elif (refusal := allowed.egress.refusal(host, server.port, ports)) is not None:
        yield "host", f"it is not connected to: {refusal}"


def _unusable_auth(auth: Auth, allowed: Allowed) -> Iterator[Place]:
    if isinstance(auth, OAuthAuth) and not auth.token_endpoint.lower().startswith("https://"):
        yield "auth.token_endpoint", "is not an https:// address"
    for name, secret in named_secrets(auth):
        if (problem := reference_problem(secret, allowed.env_prefix)) is not None:
            yield f"auth.{name}", problem

"""Well-formed settings that cannot work: the worker serves the account, and the mailbox fails."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import combinations

from worker.domain.egress import IMAP_PORTS, SMTP_PORTS, EgressPolicy
from worker.domain.hosts import parse_host
from worker.domain.providers import Provider, provider_of
from worker.domain.snapshot.model import (
    Account,
    Auth,
    CompanyOwner,
    EmployeeOwner,
    ImapServer,
    Mailbox,
    NoAuth,
    OAuthAuth,
    PasswordAuth,
    SmtpServer,
    named_secrets,
)
from worker.domain.snapshot.secret_references import reference_problem
from worker.domain.vocabulary import CopyMode, Security

Place = tuple[str, str]
"""A path below the mailbox or the relay, and the problem there."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the operator's settings allow the worker. `connections`: the most it opens to any one mailbox."""

    plaintext: bool = False
    egress: EgressPolicy = field(default_factory=EgressPolicy)
    env_prefix: str = "SENDAS_SECRET_"
    reference_accounts: frozenset[str] = frozenset()
    relay_egress: EgressPolicy | None = None
    connections: int = 20

    @property
    def of_relay(self) -> "Allowed":
        """The same for the platform's relay, which may be where no customer's server may be."""
        return self if self.relay_egress is None else replace(self, egress=self.relay_egress)


def unusable_in_server(server: SmtpServer, allowed: Allowed) -> Iterator[Place]:
    """Problems that make an SMTP server unusable, a mailbox's or the relay; paths start below the server."""
    yield from _unreachable(server, SMTP_PORTS, allowed)
    yield from _unusable_auth(server.auth, allowed)


def unusable_in_mailbox(mailbox: Mailbox, allowed: Allowed) -> Iterator[Place]:
    """Problems that keep the mailbox from sending, or its copies from being saved."""
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


Advice = tuple[int | None, str, str]
"""The mailbox's position (None: the account as a whole), the path below it, and one sentence."""

_USUAL_SECURITY = {465: Security.TLS, 587: Security.STARTTLS}


def advice(account: Account, most_connections: int) -> Iterator[Advice]:
    """One sentence per setting to improve. `most_connections`: the most that the worker opens to a mailbox."""
    yield from _of_account(account)
    for position, mailbox in enumerate(account.mailboxes):
        for path, message in (
            *_of_use(account, mailbox),
            *_of_servers(mailbox),
            *_of_provider(mailbox),
            *_of_limits(mailbox, most_connections),
        ):
            yield position, path, message
    yield from _of_defaults(account)


def _of_account(account: Account) -> Iterator[Advice]:
    usable = [mailbox for mailbox in account.mailboxes if mailbox.active]
    company = [mailbox for mailbox in usable if isinstance(mailbox.owner, CompanyOwner)]
    if usable and not any(not mailbox.projects for mailbox in company):
        yield (
            None,
            "",
            "no active company mailbox without projects: in tasks of other projects, or of none, letters of employees "
            "without a mailbox of their own leave from internal addresses",
        )
    known: dict[str, str] = {}
    for position, employee in enumerate(account.employees):
        first = known.setdefault(employee.internal_address.lower(), employee.id)
        if first != employee.id:
            path = f"employees[{position}].internal_address"
            yield None, path, f"is that of employee {first} too: replies to one of them reach the other"


def _of_use(account: Account, mailbox: Mailbox) -> Iterator[tuple[str, str]]:
    employees = {employee.id for employee in account.employees}
    groups = {group for employee in account.employees for group in employee.groups}
    access = mailbox.access
    if isinstance(mailbox.owner, EmployeeOwner):
        if mailbox.owner.employee_id not in employees:
            yield "owner.employee_id", "belongs to an employee that the account does not have: nobody can use it"
        if access.employees or access.groups:
            yield "access", "means nothing for an employee's mailbox: only its owner uses it"
    else:
        unknown = sorted(access.employees - employees)
        if unknown:
            yield "access.employees", f"the account has no employee {', '.join(unknown)}"
        empty = sorted(access.groups - groups)
        if empty:
            yield "access.groups", f"no employee is in the group {', '.join(empty)}"
        is_restricted = bool(access.employees or access.groups)
        if is_restricted and not access.employees & employees and not access.groups & groups:
            yield "access", "is restricted to nobody that the account has: nobody can use it"
    if mailbox.default and not mailbox.active:
        yield "default", "means nothing for a mailbox that is not active"


def _of_servers(mailbox: Mailbox) -> Iterator[tuple[str, str]]:
    usual = _USUAL_SECURITY.get(mailbox.smtp.port)
    if usual is not None and mailbox.smtp.security not in (usual, Security.NONE):
        yield "smtp.security", f"port {mailbox.smtp.port} usually wants {usual.value}"
    if isinstance(mailbox.smtp.auth, NoAuth):
        yield "smtp.auth.method", "none: most servers take no letters from somebody who does not sign in"
    imap = mailbox.sent_copy.imap
    if imap is not None and imap.port == 143 and imap.security is Security.TLS:
        yield "sent_copy.imap.port", "143 is usually without TLS from the first byte: 993 has it"


def _of_provider(mailbox: Mailbox) -> Iterator[tuple[str, str]]:
    provider = provider_of(mailbox.smtp.host)
    if isinstance(mailbox.smtp.auth, PasswordAuth):
        yield from _of_password(provider)
    if isinstance(mailbox.smtp.auth, OAuthAuth) and not provider.has_mailbox:
        yield "smtp.auth.method", f"xoauth2: {provider.name} is a transactional service, which takes a password or key"
    if mailbox.sent_copy.mode is CopyMode.ALWAYS:
        if not provider.has_mailbox:
            yield "sent_copy.mode", f"always: {provider.name} is a transactional service, which has no Sent folder"
        elif provider.saves_to_sent:
            yield "sent_copy.mode", f"always: {provider.name} saves to Sent by itself, so letters may be there twice"
    if mailbox.service is not None and mailbox.service.provider != provider.name:
        whose = f"{mailbox.smtp.host} belongs to {provider.display_name}"
        yield "service", f"is for {mailbox.service.provider}, but {whose}: it is ignored"


def _of_limits(mailbox: Mailbox, most_connections: int) -> Iterator[tuple[str, str]]:
    limit, provider = mailbox.limits.connections, provider_of(mailbox.smtp.host)
    if limit is not None and provider.connections is not None and limit > provider.connections:
        yield "limits.connections", f"{limit}: {provider.name} takes {provider.connections} from one mailbox at a time"
    if limit is not None and limit > most_connections:
        yield "limits.connections", f"{limit}: at most {most_connections} are used (the operator's setting)"


def _of_password(provider: Provider) -> Iterator[tuple[str, str]]:
    if provider.takes_password is False:
        yield "smtp.auth.method", f"password: {provider.name} takes none over SMTP any more; it needs xoauth2"
    elif provider.password_until is not None:
        until = provider.password_until.isoformat()
        yield "smtp.auth.method", f"password: {provider.name} turns it off by default after {until}; change to xoauth2"


def _of_defaults(account: Account) -> Iterator[Advice]:
    """Pairs of defaults that may apply to the same task, where the choice between them is arbitrary."""
    marked = [(n, mailbox) for n, mailbox in enumerate(account.mailboxes) if mailbox.default and mailbox.active]
    told = set[int]()
    for (_, first), (position, second) in combinations(marked, 2):
        if position not in told and first.owner == second.owner and _can_meet(first, second):
            told.add(position)
            yield position, "default", f"is set for mailbox {first.id} too: the one that comes first is taken"


def _can_meet(first: Mailbox, second: Mailbox) -> bool:
    """Mailboxes bound to projects precede unbound ones, so only two of one kind compete."""
    if not first.projects and not second.projects:
        return True
    return bool(first.projects & second.projects)


class Severity(StrEnum):
    """A problem keeps something from working; advice is about what works and could be better."""

    PROBLEM = "problem"
    ADVICE = "advice"


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem or piece of advice. `path`: the field, below the account (or the document, without an account id).

    `is_fatal`: it causes the whole account to be left out, so that its letters wait.
    """

    severity: Severity
    account_id: str | None
    mailbox_id: str | None
    path: str
    message: str
    is_fatal: bool = False

    def __str__(self) -> str:
        places = [f"{kind} {name}" for kind, name in self._owners() if name is not None]
        if self.path:
            places.append(self.path)
        return ": ".join([*places, self.message])

    def _owners(self) -> tuple[tuple[str, str | None], ...]:
        return ("account", self.account_id), ("mailbox", self.mailbox_id)

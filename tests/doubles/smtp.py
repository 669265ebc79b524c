"""What the SMTP adapter needs besides a server: dialer, credentials, certificate authority, routes, letters."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import trustme
from pydantic import SecretStr

from stack.scripted_smtp import ScriptedSmtpServer
from worker.adapters.auth.credentials import AccessToken, Password
from worker.adapters.network.egress import DialError
from worker.adapters.network.tls import client_context
from worker.adapters.smtp import PoolLimits, SmtpTransport, Timeouts
from worker.delivery.ports import Route
from worker.domain.letter.model import ComposedLetter
from worker.domain.snapshot.model import Auth, EnvSecret, NoAuth, OAuthAuth, PasswordAuth, SmtpServer
from worker.domain.transmission import FailureKind, Transmission
from worker.domain.vocabulary import AuthMethod, Security

HOST = "smtp.acme.example"
USERNAME = "support@acme.example"
PASSWORD = "canary-Pa55word"
TOKEN = "canary-t0ken"
SENDER = "support@acme.example"
RECIPIENT = "client@example.net"

PATIENT = Timeouts(
    connect_s=10,
    greeting_s=10,
    tls_s=10,
    command_s=10,
    reset_s=10,
    mail_s=10,
    rcpt_s=10,
    data_s=10,
    upload_s=10,
    upload_bytes_per_s=1e9,
    quit_s=1,
)
"""Longer than any test should take: a test that hits one of these is wrong."""


def hasty(step: str, timeout_s: float = 0.05) -> Timeouts:
    """Timeouts of which one is short."""
    values = {name: getattr(PATIENT, name) for name in PATIENT.__slots__} | {step: timeout_s}
    return Timeouts(**values)


class LocalDialer:
    """Connects every host to loopback; records what was requested."""

    def __init__(self) -> None:
        self.dialed: list[tuple[str, int]] = []
        self.fault: FailureKind | None = None

    async def dial(self, host: str, port: int, timeout_s: float) -> socket.socket:
        self.dialed.append((host, port))
        if self.fault is not None:
            raise DialError("no way there", self.fault)
        sock = socket.socket()
        sock.setblocking(False)
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        except BaseException:
            sock.close()
            raise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock


class FixedCredentials:
    """Returns the same answer to every question."""

    def __init__(self, opened: Password | AccessToken | Exception | None = None) -> None:
        self.opened = opened
        self.times = 0
        self.accepted: tuple[str, ...] = ()

    async def open(self, account_id: str, auth: Auth) -> Password | AccessToken | None:
        self.times += 1
        if isinstance(self.opened, Exception):
            raise self.opened
        return self.opened

    async def known(self, account_id: str, auth: Auth) -> Sequence[Password | AccessToken]:
        """The secrets opened."""
        return [] if self.opened is None or isinstance(self.opened, Exception) else [self.opened]

    async def forget(self, account_id: str, auth: Auth, refused: SecretStr) -> bool:
        """Do nothing: nothing is cached."""
        return False


def password(text: str = PASSWORD) -> Password:
    return Password(USERNAME, SecretStr(text))


def token(text: str = TOKEN) -> AccessToken:
    return AccessToken(USERNAME, SecretStr(text))


class Certificates:
    """The tests' certificate authority, with TLS contexts for both sides."""

    def __init__(self) -> None:
        self._authority = trustme.CA()
        self._issued: dict[str, trustme.LeafCert] = {}
        self._client: ssl.SSLContext | None = None

    def server(self, host: str = HOST) -> ssl.SSLContext:
        """A separate context, which a test may change."""
        if host not in self._issued:
            self._issued[host] = self._authority.issue_cert(host)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._issued[host].configure_cert(context)
        return context

    def client(self) -> ssl.SSLContext:
        """The context that all transports share: creating one is slow."""
        if self._client is None:
            self._client = client_context()
            self._authority.configure_trust(self._client)
        return self._client


CERTIFICATES = Certificates()


def route(
    port: int,
    *,
    security: Security = Security.NONE,
    auth: Auth | None = None,
    host: str = HOST,
    account_id: str = "acme",
    mailbox_id: str | None = "mb-support",
    max_connections: int = 1,
) -> Route:
    server = SmtpServer(host=host, port=port, security=security, auth=auth or NoAuth(method=AuthMethod.NONE))
    return Route(account_id=account_id, mailbox_id=mailbox_id, smtp=server, max_connections=max_connections)


def password_auth() -> PasswordAuth:
    return PasswordAuth(method=AuthMethod.PASSWORD, username=USERNAME, secret=EnvSecret(env="SMTP_PASSWORD"))


def oauth_auth() -> OAuthAuth:
    return OAuthAuth(
        method=AuthMethod.XOAUTH2,
        username=USERNAME,
        token_endpoint="https://login.example/token",
        client_id="sendas",
        refresh_token=EnvSecret(env="REFRESH_TOKEN"),
    )


def letter(
    *recipients: str,
    body: bytes = b"Hello.\r\n",
    sender: str = SENDER,
    needs_smtputf8: bool = False,
    message_id: str = "<1@acme.example>",
) -> ComposedLetter:
    wire = f"From: {sender}\r\nMessage-ID: {message_id}\r\nSubject: Hello\r\n\r\n".encode() + body
    return ComposedLetter(
        message_id=message_id,
        date=datetime(2026, 11, 23, 10, tzinfo=UTC),
        envelope_from=sender,
        envelope_to=recipients or (RECIPIENT,),
        wire=wire,
        copy=wire,
        needs_smtputf8=needs_smtputf8,
    )


def transport(
    credentials: FixedCredentials | None = None,
    *,
    dialer: LocalDialer | None = None,
    timeouts: Timeouts = PATIENT,
    limits: PoolLimits | None = None,
    monotonic: "FakeMonotonic | None" = None,
) -> SmtpTransport:
    return SmtpTransport(
        dialer or LocalDialer(),
        credentials or FixedCredentials(),
        local_hostname="worker.sendas.example",
        tls=CERTIFICATES.client(),
        timeouts=timeouts,
        limits=limits or PoolLimits(close_s=1.0),
        monotonic=monotonic or FakeMonotonic(),
    )


class FakeMonotonic:
    """A clock that stands still until a test advances it."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class Hook:
    """A `before_final_dot` that records its calls: their arguments, and how many letters the server had by then."""

    def __init__(self, server: ScriptedSmtpServer | None = None, error: Exception | None = None) -> None:
        self.times = 0
        self.letters_before: list[int] = []
        self._server = server
        self._error = error

    async def __call__(self, accepted: Collection[str]) -> None:
        self.times += 1
        self.accepted = tuple(accepted)
        if self._server is not None:
            self.letters_before.append(len(self._server.letters))
        if self._error is not None:
            raise self._error


EXTENSIONS_WITHOUT_PIPELINING: Sequence[str] = ("SIZE 36700160", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")
EXTENSIONS: Sequence[str] = ("PIPELINING", *EXTENSIONS_WITHOUT_PIPELINING)


@dataclass(frozen=True)
class World:
    """A server, a transport and the route between them."""

    server: ScriptedSmtpServer
    transport: SmtpTransport
    route: Route
    hook: Hook

    async def send(self, *recipients: str, **options: Any) -> Transmission:
        """Send a letter along the route."""
        return await self.transport.send(self.route, letter(*recipients, **options), self.hook)


@asynccontextmanager
async def world(
    script: str = "",
    *,
    security: Security = Security.NONE,
    offers_tls: bool = True,
    certificate_host: str = HOST,
    opened: Password | AccessToken | Exception | None = None,
    timeouts: Timeouts = PATIENT,
    limits: PoolLimits | None = None,
    monotonic: FakeMonotonic | None = None,
    dialer: LocalDialer | None = None,
    max_connections: int = 1,
    **server_options: Any,
) -> AsyncIterator[World]:
    """A scripted server and a transport that reaches it; closes both on exit."""
    context = CERTIFICATES.server(certificate_host) if security is not Security.NONE and offers_tls else None
    server = ScriptedSmtpServer(
        script,
        tls=context,
        is_implicit_tls=security is Security.TLS and offers_tls,
        users={USERNAME: PASSWORD},
        tokens={USERNAME: TOKEN},
        **server_options,
    )
    credentials = FixedCredentials(opened)
    smtp = transport(credentials, dialer=dialer, timeouts=timeouts, limits=limits, monotonic=monotonic)
    auth = oauth_auth() if isinstance(opened, AccessToken) else password_auth()
    async with server:
        try:
            way = route(server.port, security=security, auth=auth, max_connections=max_connections)
            yield World(server, smtp, way, Hook(server))
        finally:
            await smtp.close()

"""What tests of Sent folders share: a letter, a target, and the adapter wired to servers on loopback."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from pydantic import SecretStr

from stack import client_context
from worker.adapters.auth.credentials import AccessToken, Password
from worker.adapters.imap.connection import ImapTimeouts
from worker.adapters.imap.sent_folder import ImapSentFolder
from worker.delivery.ports import CopyTarget
from worker.domain.snapshot.model import Auth, EnvSecret, ImapServer, PasswordAuth
from worker.domain.vocabulary import AuthMethod, Security

DATE = datetime(2026, 11, 23, 9, 59, 58, tzinfo=timezone(timedelta(hours=3)))
PASSWORD = "hunter2"
_CONTEXT = client_context()  # trusts nobody: made quickly, and enough without TLS
QUICK = ImapTimeouts(
    connect_s=5, tls_s=5, greeting_s=5, sign_in_s=5, command_s=5, append_s=5, logout_s=1, max_response_bytes=512 * 1024
)


def letter(message_id: str, body: bytes = b"Hello\r\n") -> bytes:
    """A letter as it is composed: CRLF throughout."""
    return b"From: a@acme.example\r\nMessage-ID: " + message_id.encode() + b"\r\nSubject: s\r\n\r\n" + body


class LoopbackDialer:
    """Connects to loopback, whatever the host is called; says how often."""

    def __init__(self) -> None:
        self.dialed: list[str] = []

    async def dial(self, host: str, port: int, timeout_s: float) -> socket.socket:
        """A connected socket to 127.0.0.1."""
        self.dialed.append(host)
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return sock


@dataclass
class FixedCredentials:
    """Opens every `auth` as the same credentials, or raises the same error."""

    opened: Password | AccessToken | Exception | None

    async def open(self, account_id: str, auth: Auth) -> Password | AccessToken | None:
        """The credentials."""
        if isinstance(self.opened, Exception):
            raise self.opened
        return self.opened

    async def known(self, account_id: str, auth: Auth) -> Sequence[Password | AccessToken]:
        """Those that are opened."""
        return [] if self.opened is None or isinstance(self.opened, Exception) else [self.opened]

    async def forget(self, account_id: str, auth: Auth, refused: SecretStr) -> bool:
        """Nothing is in memory."""
        return False


class NamedCredentials:
    """Opens an `auth` as the password that was noted for its user name."""

    def __init__(self) -> None:
        self.passwords: dict[str, str] = {}

    async def open(self, account_id: str, auth: Auth) -> Password | AccessToken | None:
        """The password of the auth's user name."""
        assert isinstance(auth, PasswordAuth)
        return Password(auth.username, SecretStr(self.passwords[auth.username]))

    async def known(self, account_id: str, auth: Auth) -> Sequence[Password | AccessToken]:
        """The same, if one was noted."""
        assert isinstance(auth, PasswordAuth)
        password = self.passwords.get(auth.username)
        return [] if password is None else [Password(auth.username, SecretStr(password))]

    async def forget(self, account_id: str, auth: Auth, refused: SecretStr) -> bool:
        """Nothing is in memory."""
        return False


@dataclass
class StandingClock:
    """A clock that a test moves."""

    seconds: float = 0.0

    def now(self) -> datetime:
        """The time of day."""
        return datetime(2026, 11, 23, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        """The seconds that the test has set."""
        return self.seconds


def password(text: str = PASSWORD, username: str = "user@acme.example") -> FixedCredentials:
    """Credentials that are one password."""
    return FixedCredentials(Password(username, SecretStr(text)))


def target(
    port: int,
    *,
    folder: str | None = None,
    security: Security = Security.NONE,
    host: str = "localhost",
    mailbox_id: str = "mb",
    username: str = "user@acme.example",
) -> CopyTarget:
    """A target on loopback."""
    auth = PasswordAuth(method=AuthMethod.PASSWORD, username=username, secret=EnvSecret(env="UNUSED"))
    return CopyTarget("acme", mailbox_id, ImapServer(host=host, port=port, security=security), auth, folder)


def sent_folder(
    credentials: FixedCredentials | NamedCredentials | None = None,
    *,
    context: ssl.SSLContext | None = None,
    timeouts: ImapTimeouts = QUICK,
    clock: StandingClock | None = None,
    dialer: LoopbackDialer | None = None,
) -> ImapSentFolder:
    """The adapter, wired to loopback."""
    return ImapSentFolder(
        dialer or LoopbackDialer(),
        credentials or password(),
        context or _CONTEXT,
        timeouts,
        clock or StandingClock(),
    )

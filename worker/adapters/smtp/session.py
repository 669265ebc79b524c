"""Opens connections to mail servers, and keeps them ready for letters."""

import asyncio
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import aiosmtplib
from aiosmtplib import SMTPResponse, SMTPServerDisconnected
from aiosmtplib.protocol import SMTPProtocol

from worker.adapters.auth.credentials import Credentials
from worker.adapters.network.egress import Dialer, DialError
from worker.adapters.network.tls import verifying
from worker.adapters.smtp.authentication import known_secrets, sign_in
from worker.adapters.smtp.errors import Failed, failing_in, refusal
from worker.adapters.smtp.progress import Progress, Timeouts
from worker.adapters.smtp.protocol import PairedProtocol
from worker.delivery.ports import Route
from worker.domain.hosts import certified_name
from worker.domain.snapshot.model import SmtpServer
from worker.domain.transmission import DeliveryFailure, FailureKind
from worker.domain.vocabulary import Phase, Security
from worker.errors import ConfigurationError

_READY = 220
_SIZE = re.compile(r"[0-9]{1,20}")  # RFC 1870 section 4
_HOSTNAME = re.compile(r"[!-~]+")  # a domain, or an address literal (RFC 5321 section 4.1.3)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Extensions from the server's EHLO reply. Copied, because the library forgets them when the connection is lost: a
    server that hung up would then look like one that never offered any."""

    extensions: Mapping[str, str]
    mechanisms: tuple[str, ...]

    @classmethod
    def of(cls, client: aiosmtplib.SMTP) -> Self:
        """The capabilities in the last EHLO reply."""
        return cls(dict(client.esmtp_extensions), tuple(client.server_auth_methods))

    @property
    def max_letter_bytes(self) -> int | None:
        """The limit announced by SIZE (RFC 1870 section 4), or None; 0 means that there is none."""
        announced = self.extensions.get("size", "")
        return (int(announced) or None) if _SIZE.fullmatch(announced) else None


class Session:
    """A signed-in connection that carries one letter at a time."""

    def __init__(
        self, client: aiosmtplib.SMTP, protocol: PairedProtocol, offer: Capabilities, timeouts: Timeouts
    ) -> None:
        self.protocol: Final = protocol
        self._client = client
        self._offer = offer
        self._timeouts = timeouts
        self.letters = 0  # tried
        self.accepted = 0  # of the letters tried
        self.idle_since_s = 0.0

    @property
    def is_usable(self) -> bool:
        """True when the next command is certain to be paired with its own reply."""
        return self.protocol.is_at_rest

    def offers(self, extension: str) -> bool:
        """Whether the server's last EHLO reply named the extension (in lower case here)."""
        return extension in self._offer.extensions

    @property
    def max_letter_bytes(self) -> int | None:
        """The size limit that the server announced, or None."""
        return self._offer.max_letter_bytes

    def abort(self) -> None:
        """Drop the connection, whatever the server's state."""
        self.protocol.abort()

    async def reset(self) -> None:
        """RSET; if that fails, abort the session silently, so as not to mask a result."""
        try:
            with failing_in(Phase.QUIT):
                await self._client.rset(timeout=self._timeouts.reset_s)
        except Failed:
            self.abort()

    async def quit(self) -> None:
        """QUIT, bounded in time; then drop the connection whatever the reply."""
        try:
            if self.is_usable:
                with failing_in(Phase.QUIT):
                    await self._client.quit(timeout=self._timeouts.quit_s)
        except Failed:
            pass  # it was leaving anyway
        finally:
            # After 221 nothing is outstanding; a TLS shutdown would wait for the server once more.
            self.abort()


class Opener:
    """Opens sessions: dial, TLS, greeting, EHLO, sign in. Mailbox checks run the same steps one by one.

    `relay_dialer` connects to the platform's own relay; None: `dialer` does.
    """

    def __init__(
        self,
        dialer: Dialer,
        credentials: Credentials,
        tls: ssl.SSLContext,
        local_hostname: str,
        timeouts: Timeouts,
        relay_dialer: Dialer | None = None,
    ) -> None:
        if not _HOSTNAME.fullmatch(local_hostname):
            raise ConfigurationError(f"not a host name for EHLO: {local_hostname!r}")
        self._dialer = dialer
        self._relay_dialer = relay_dialer or dialer
        self._credentials = credentials
        self._tls = verifying(tls)
        self._local_hostname = local_hostname
        self.timeouts: Final = timeouts

    async def open(self, route: Route, progress: Progress) -> Session:
        """A session ready for MAIL. Raises `Failed`; on failure and cancellation no connection stays open."""
        sock = await self.dial(route, progress)
        client, protocol = await self.join(sock, route, progress)
        try:
            offer, _ = await self.greet(client, protocol, progress)
            if route.smtp.security is Security.STARTTLS:
                offer = await self.start_tls(client, offer, progress)
            return await self.sign_in(client, protocol, offer, route, progress)
        except BaseException:
            protocol.abort()
            raise

    async def dial(self, route: Route, progress: Progress) -> socket.socket:
        """A socket connected to a vetted address. Raises `Failed`."""
        progress.phase = Phase.CONNECT
        dialer = self._relay_dialer if route.mailbox_id is None else self._dialer
        try:
            with progress.stage("connect"):
                return await dialer.dial(route.smtp.host, route.smtp.port, self.timeouts.connect_s)
        except DialError as error:
            raise Failed(DeliveryFailure(Phase.CONNECT, error.fault, detail=str(error))) from None

    async def join(
        self, sock: socket.socket, route: Route, progress: Progress
    ) -> tuple[aiosmtplib.SMTP, PairedProtocol]:
        """A client on the socket, with implicit TLS if the route has it. Raises `Failed`, with the socket closed."""
        client = self._client(route.smtp)

        def forget(_lost: SMTPProtocol) -> None:
            client.close()

        loop = asyncio.get_running_loop()
        is_tls = route.smtp.security is Security.TLS
        try:
            protocol = PairedProtocol(await known_secrets(self._credentials, route), on_lost=forget)
            with (
                progress.entering(Phase.TLS if is_tls else Phase.CONNECT),
                progress.stage("tls" if is_tls else "connect"),
            ):
                transport, _ = await loop.create_connection(
                    lambda: protocol,
                    sock=sock,
                    ssl=self._tls if is_tls else None,
                    # The connection goes to the vetted address, but the certificate must match the name.
                    server_hostname=client.hostname if is_tls else None,
                    ssl_handshake_timeout=self.timeouts.tls_s if is_tls else None,
                )
        except BaseException:
            sock.close()
            raise
        client.protocol, client.transport = protocol, transport
        return client, protocol

    def _client(self, server: SmtpServer) -> aiosmtplib.SMTP:
        return aiosmtplib.SMTP(
            hostname=certified_name(server.host),
            local_hostname=self._local_hostname,
            timeout=self.timeouts.command_s,
            use_tls=server.security is Security.TLS,
            start_tls=server.security is Security.STARTTLS,
            tls_context=self._tls,
        )

    async def greet(
        self, client: aiosmtplib.SMTP, protocol: PairedProtocol, progress: Progress
    ) -> tuple[Capabilities, SMTPResponse]:
        """The server's capabilities and greeting. Raises `Failed`."""
        with progress.stage("connect"), progress.entering(Phase.GREETING):
            greeting = await protocol.next_reply(self.timeouts.greeting_s)
            if greeting.code != _READY:
                raise Failed(refusal(Phase.GREETING, greeting))
            await client.ehlo()
            return Capabilities.of(client), greeting

    async def start_tls(self, client: aiosmtplib.SMTP, offer: Capabilities, progress: Progress) -> Capabilities:
        """Upgrade to TLS; returns the capabilities offered then. Raises `Failed`."""
        with progress.stage("tls"):
            with progress.entering(Phase.TLS):
                if "starttls" not in offer.extensions:
                    # Never continue in plain text: an attacker can strip STARTTLS from the reply (RFC 3207 section 6).
                    raise Failed(
                        DeliveryFailure(Phase.TLS, FailureKind.TLS, detail="the server does not offer STARTTLS")
                    )
                if not client.is_connected:
                    raise SMTPServerDisconnected("the connection was lost")
                await client.starttls(timeout=self.timeouts.tls_s)
            with progress.entering(Phase.GREETING):
                # Discard everything received before TLS (RFC 3207 section 4.2).
                await client.ehlo()
                return Capabilities.of(client)

    async def sign_in(
        self, client: aiosmtplib.SMTP, protocol: PairedProtocol, offer: Capabilities, route: Route, progress: Progress
    ) -> Session:
        """Sign in; returns a session ready for letters. Raises `Failed`."""
        with progress.stage("auth"):
            await sign_in(client, route, self._credentials, offer.mechanisms, progress)
        return Session(client, protocol, offer, self.timeouts)

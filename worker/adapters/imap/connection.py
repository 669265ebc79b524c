"""From a host and a port to a greeted connection: to the vetted address, verified against the host's name."""

import asyncio
import socket
import ssl
from dataclasses import dataclass

from worker.adapters.imap.errors import ImapTrouble, ServerWords
from worker.adapters.imap.protocol import ImapProtocol, LostConnection
from worker.adapters.network.egress import Dialer, DialError
from worker.domain.hosts import certified_name
from worker.domain.snapshot.model import ImapServer
from worker.domain.transmission import FailureKind
from worker.domain.vocabulary import Phase, Security


@dataclass(frozen=True, slots=True)
class ImapTimeouts:
    """Seconds per step, and the maximum size of a server's answer to one command."""

    connect_s: float = 15.0
    tls_s: float = 15.0
    greeting_s: float = 20.0
    sign_in_s: float = 30.0
    command_s: float = 30.0
    append_s: float = 60.0
    append_bytes_per_s: float = 32 * 1024
    logout_s: float = 2.0
    idle_s: float = 45.0
    max_response_bytes: int = 2 * 1024 * 1024

    def append_within_s(self, size: int) -> float:
        """The time limit for an APPEND of `size` bytes, including the upload."""
        return self.append_s + size / self.append_bytes_per_s


async def connect(
    dialer: Dialer, server: ImapServer, context: ssl.SSLContext, timeouts: ImapTimeouts, words: ServerWords
) -> ImapProtocol:
    """A connection on which the server's greeting has arrived. Raises `ImapTrouble`."""
    require_supported(server, context)
    protocol = await join(await dial(dialer, server, timeouts), server, context, timeouts, words)
    is_greeted = False
    try:
        await greeted(protocol, timeouts.greeting_s)
        is_greeted = True
    finally:
        if not is_greeted:
            protocol.abort()
    return protocol


def require_supported(server: ImapServer, context: ssl.SSLContext) -> None:
    """Refuse, before connecting, settings that cannot work. Raises `ImapTrouble`."""
    if server.security is Security.STARTTLS:  # aioimaplib does not support it, and plain text is no substitute
        detail = "STARTTLS is not supported for IMAP: use implicit TLS (security tls), usually port 993"
        raise ImapTrouble(Phase.TLS, FailureKind.TLS, detail)
    if server.security is Security.TLS:
        _refuse_unverifiable(certified_name(server.host), context)


async def dial(dialer: Dialer, server: ImapServer, timeouts: ImapTimeouts) -> socket.socket:
    """A socket connected to a vetted address. Raises `ImapTrouble`."""
    try:
        return await dialer.dial(server.host, server.port, timeouts.connect_s)
    except DialError as error:
        raise ImapTrouble(Phase.CONNECT, error.fault, str(error)) from error


async def join(
    sock: socket.socket, server: ImapServer, context: ssl.SSLContext, timeouts: ImapTimeouts, words: ServerWords
) -> ImapProtocol:
    """A protocol on the socket, with TLS if the settings require it. Raises `ImapTrouble`, with the socket closed."""
    is_tls = server.security is Security.TLS
    try:
        async with asyncio.timeout(timeouts.tls_s):
            # The event loop owns the socket from here on, and closes it when the handshake fails or is cancelled.
            _, protocol = await asyncio.get_running_loop().create_connection(
                lambda: ImapProtocol(timeouts.max_response_bytes, words),
                sock=sock,
                ssl=context if is_tls else None,
                server_hostname=certified_name(server.host) if is_tls else None,
            )
    except TimeoutError:
        raise ImapTrouble(Phase.TLS, FailureKind.TIMEOUT, f"no TLS handshake within {timeouts.tls_s:g} s") from None
    except ssl.SSLCertVerificationError as error:
        detail = f"the certificate is not good for {server.host}: {error.verify_message}"
        raise ImapTrouble(Phase.TLS, FailureKind.TLS, detail) from error
    except ssl.SSLError as error:
        detail = f"the TLS handshake failed: {error.reason or error}"
        raise ImapTrouble(Phase.TLS, FailureKind.TLS, detail) from error
    except OSError as error:
        detail = f"the connection was lost in the TLS handshake: {error}"
        raise ImapTrouble(Phase.TLS, FailureKind.DISCONNECTED, detail) from error
    return protocol


def _refuse_unverifiable(host: str, context: ssl.SSLContext) -> None:
    """Refuse a host that no certificate can name: found later, the event loop would leave the socket open."""
    try:
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=host)
    except ValueError as error:
        raise ImapTrouble(Phase.TLS, FailureKind.TLS, f"the host name cannot be verified: {error}") from error


async def greeted(protocol: ImapProtocol, within_s: float) -> str:
    """The text of the server's greeting. Raises `ImapTrouble`."""
    try:
        async with asyncio.timeout(within_s):
            greeting = await protocol.greeting()
    except TimeoutError:
        raise ImapTrouble(Phase.GREETING, FailureKind.TIMEOUT, f"no greeting within {within_s:g} s") from None
    except LostConnection as lost:
        fault = FailureKind.PROTOCOL if lost.is_violation else FailureKind.DISCONNECTED
        raise ImapTrouble(Phase.GREETING, fault, lost.why) from None
    words = greeting.upper().split(maxsplit=2)[:2]
    if words == [b"*", b"BYE"]:
        raise ImapTrouble(Phase.GREETING, FailureKind.REPLY, protocol.words.clean(greeting[2:]))
    if words != [b"*", b"OK"]:
        # Also for PREAUTH: the server's preauthenticated user need not be this mailbox's owner.
        raise ImapTrouble(Phase.GREETING, FailureKind.PROTOCOL, f"no IMAP greeting: {protocol.words.clean(greeting)}")
    return protocol.words.clean(greeting[2:])

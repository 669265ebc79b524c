"""Client-side TLS: the one place that creates contexts, for mail, broker, database, snapshot and telemetry alike.

It sets every value whose default differs between Python versions or distributions: TLS 1.2 at least, because Debian's
Python has no minimum, and strict chain validation, because Python 3.13 sets `VERIFY_X509_STRICT` and 3.11 does not.

`EncryptedTransport` and `EncryptedSentFolder` refuse servers without it: `security: none` is for a relay on a network
that the operator vouches for.
"""

import asyncio
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from worker.delivery.ports import BeforeFinalDot, CopyTarget, MailTransport, Route, SavedCopy, SentFolder
from worker.domain.letter.model import ComposedLetter
from worker.domain.probe import TlsFacts
from worker.domain.transmission import DeliveryFailure, FailureKind, Transmission
from worker.domain.vocabulary import CopyOutcome, Phase, Security
from worker.errors import ConfigurationError

log = structlog.get_logger(__name__)

PLAINTEXT_REFUSED = DeliveryFailure(
    Phase.CONNECT, FailureKind.EGRESS, detail="connections without encryption are not allowed here"
)

_SERVERS_WORDS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it requires a client certificate",
    "WRONG_VERSION_NUMBER": "it does not speak TLS on this port",
    "UNSUPPORTED_PROTOCOL": "it offers no TLS version from 1.2 on",
}
_ALERT = re.compile(r"^(TLSV1|TLSV13|SSLV3)_ALERT_")  # OpenSSL's alert names, by the version that introduced them
_LOST = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


@dataclass(frozen=True, slots=True)
class PemFile:
    """A file of certificates or a key, and the setting that names it, for error texts."""

    setting: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """The trusted authorities and the client certificate of one kind of connection.

    `extra_authorities` are trusted in addition to the system's; `only_authorities` instead of both. `key` may be None
    when it is in the certificate's file. `is_strict`: chains must follow RFC 5280 strictly (X509_V_FLAG_X509_STRICT).
    """

    extra_authorities: PemFile | None = None
    only_authorities: PemFile | None = None
    certificate: PemFile | None = None
    key: PemFile | None = None
    is_strict: bool = False
    checks_host_name: bool = True

    def files(self) -> Iterator[Path]:
        """All files that the context is built from."""
        for file in (self.extra_authorities, self.only_authorities, self.certificate, self.key):
            if file is not None:
                yield file.path


def client_context(tls: ClientTls | None = None) -> ssl.SSLContext:
    """A client context: TLS 1.2 at least, certificate and host name verified.

    Loading the system's certificates takes tens of milliseconds: create one context and share it.

    Raises:
        ConfigurationError: a file cannot be used; the line names the setting and the file.
    """
    tls = tls or ClientTls()
    context = _trusting(tls)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = tls.checks_host_name
    # An authority in a file is a trust anchor, even if it is not self-signed.
    flags = context.verify_flags | ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags = flags | ssl.VERIFY_X509_STRICT if tls.is_strict else flags & ~ssl.VERIFY_X509_STRICT
    if tls.certificate is not None:
        _show(context, tls.certificate, tls.key)
    elif tls.key is not None:
        raise ConfigurationError(f"{tls.key.setting}: a key needs the certificate that it belongs to")
    return context


def _trusting(tls: ClientTls) -> ssl.SSLContext:
    if tls.only_authorities is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _trust(context, tls.only_authorities)
        return context
    context = ssl.create_default_context()
    if tls.extra_authorities is not None:
        _trust(context, tls.extra_authorities)
    return context


def _trust(context: ssl.SSLContext, authorities: PemFile) -> None:
    _require(authorities, b"CERTIFICATE-----", "no certificate (PEM)")
    try:
        context.load_verify_locations(cafile=authorities.path)
    except OSError as error:  # includes ssl.SSLError
        raise _unusable(authorities, error) from None


def _show(context: ssl.SSLContext, certificate: PemFile, key: PemFile | None) -> None:
    """Load a client certificate into the context, for servers that request one."""
    holder = key or certificate
    _require(certificate, b"CERTIFICATE-----", "no certificate (PEM)")
    _require(holder, b"PRIVATE KEY-----", "no private key (PEM)")
    is_encrypted = False

    def refuse_passphrase() -> str:
        nonlocal is_encrypted
        is_encrypted = True
        return ""

    try:
        context.load_cert_chain(certificate.path, holder.path, refuse_passphrase)
    except OSError as error:
        if is_encrypted:
            raise ConfigurationError(f"{holder.setting}: the key in {holder.path} is locked by a passphrase") from None
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            raise ConfigurationError(
                f"{holder.setting}: the key in {holder.path} does not belong to the certificate in {certificate.path}"
            ) from None
        raise _unusable(certificate, error) from None


def _require(file: PemFile, marker: bytes, complaint: str) -> None:
    """Check a PEM file, because OpenSSL's own errors name neither the file nor the problem."""
    try:
        content = file.path.read_bytes()
    except (OSError, ValueError) as error:  # a NUL in a path is a ValueError
        raise _unusable(file, error) from None
    if marker not in content:
        raise ConfigurationError(f"{file.setting}: there is {complaint} in {file.path}")


def _unusable(file: PemFile, error: Exception) -> ConfigurationError:
    why = getattr(error, "reason", None) or getattr(error, "strerror", None) or "it is not a path"
    return ConfigurationError(f"{file.setting}: {str(file.path)!r} cannot be used: {why}")


class FollowedContext:
    """A context that reloads when its files change: certificates are renewed while a worker runs.

    Raises:
        ConfigurationError: a file cannot be used at the start.
    """

    def __init__(self, tls: ClientTls) -> None:
        self._tls = tls
        self._seen = _stamps(tls)
        self._context = client_context(tls)

    async def current(self) -> ssl.SSLContext:
        """The context for the next connection; the previous one while files are missing or half renewed."""
        return await asyncio.to_thread(self._current)

    def _current(self) -> ssl.SSLContext:
        stamps = _stamps(self._tls)
        if stamps != self._seen:
            try:
                self._context = client_context(self._tls)
            except ConfigurationError as error:
                log.warning("tls.not_renewed", error=str(error))
            else:
                self._seen = stamps
        return self._context


def _stamps(tls: ClientTls) -> list[tuple[int, int, int] | None]:
    """Fingerprints that change with the files' contents, also when Kubernetes swaps a directory of links."""
    found: list[tuple[int, int, int] | None] = []
    for path in tls.files():
        try:
            status = path.stat()
        except (OSError, ValueError):
            found.append(None)
        else:
            found.append((status.st_ino, status.st_mtime_ns, status.st_size))
    return found


class TlsExpected(ConnectionError):
    """The server answered in TLS to a client that speaks plain text."""


def tls_refusal(error: BaseException | None) -> str | None:
    """Why the TLS handshake was refused, as text, when one side refused the other; None for all other errors.

    A connection merely lost during the handshake is an outage, not a refusal.
    """
    for _ in range(10):  # errors are wrapped in errors
        match error:
            case None:
                return None
            case TlsExpected():
                return "it speaks TLS on this port, and the URL asks for none"
            case ssl.SSLCertVerificationError(verify_message=str(words)):
                return f"the server's certificate is not accepted: {words}"
            case ssl.SSLError(reason=str(reason)) if not isinstance(error, _LOST):
                plain = _ALERT.sub("", reason).lower().replace("_", " ")
                return f"TLS is refused: {_SERVERS_WORDS.get(reason, plain)}"
        error = error.__cause__ or error.__context__
    return None


def verifying(context: ssl.SSLContext) -> ssl.SSLContext:
    """Return the context, if it verifies: customers' passwords go through it.

    Raises:
        ConfigurationError: the context accepts any certificate or host name, or less than TLS 1.2.
    """
    if not context.check_hostname or context.verify_mode is not ssl.CERT_REQUIRED:
        raise ConfigurationError("the TLS context must verify certificates and host names")
    if context.minimum_version < ssl.TLSVersion.TLSv1_2:
        raise ConfigurationError("the TLS context must not allow less than TLS 1.2")
    return context


def tls_facts(transport: asyncio.BaseTransport | None) -> TlsFacts:
    """Facts of a TLS connection: its version, and the expiry of the server's certificate."""
    secured = transport.get_extra_info("ssl_object") if transport is not None else None
    certificate = secured.getpeercert() if secured is not None else None
    ends = (certificate or {}).get("notAfter")
    version = (secured.version() if secured is not None else None) or "unknown"
    valid_until = datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC) if isinstance(ends, str) else None
    return TlsFacts(version, valid_until)


class EncryptedTransport:
    """A `MailTransport` that delivers only to servers with TLS or STARTTLS."""

    def __init__(self, inner: MailTransport) -> None:
        self._inner = inner

    async def send(self, route: Route, letter: ComposedLetter, before_final_dot: BeforeFinalDot) -> Transmission:
        if route.smtp.security is Security.NONE:
            return Transmission(refused=dict.fromkeys(letter.envelope_to, PLAINTEXT_REFUSED))
        return await self._inner.send(route, letter, before_final_dot)

    async def close_idle(self, account_id: str, mailbox_id: str, keep: int) -> None:
        await self._inner.close_idle(account_id, mailbox_id, keep)

    async def close(self) -> None:
        await self._inner.close()


class EncryptedSentFolder:
    """A `SentFolder` that signs in only to servers with TLS."""

    def __init__(self, inner: SentFolder) -> None:
        self._inner = inner

    async def save(
        self, target: CopyTarget, message_id: str, date: datetime, copy: bytes, *, also_known_as: str | None = None
    ) -> SavedCopy:
        if target.imap.security is Security.NONE:
            return SavedCopy(CopyOutcome.FAILED, target.folder, trouble=PLAINTEXT_REFUSED)
        return await self._inner.save(target, message_id, date, copy, also_known_as=also_known_as)

    async def find(self, target: CopyTarget, message_id: str) -> bool | DeliveryFailure:
        if target.imap.security is Security.NONE:
            return PLAINTEXT_REFUSED
        return await self._inner.find(target, message_id)

    async def close(self) -> None:
        await self._inner.close()

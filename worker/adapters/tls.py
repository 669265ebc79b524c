"""TLS as a client: one context, which verifies, for every connection of the process."""

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path

from worker.domain.inspection import TlsFacts
from worker.errors import ConfigurationError


def client_context(extra_ca_file: Path | None = None) -> ssl.SSLContext:
    """A client context: TLS 1.2 at least, certificate and host name verified.

    Reading the system's certificates takes tens of milliseconds: make one and share it. The certificates in
    `extra_ca_file` (PEM) are trusted in addition to the system's.

    Raises:
        ConfigurationError: the file cannot be read or has no certificate in it.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if extra_ca_file is not None:
        try:
            context.load_verify_locations(cafile=extra_ca_file)
        except OSError as error:  # ssl.SSLError is one too
            raise ConfigurationError(f"the CA file {extra_ca_file} cannot be used: {error.strerror or error}") from None
    return context


def verifying(context: ssl.SSLContext) -> ssl.SSLContext:
    """The context, if it verifies: customers' passwords go through it.

    Raises:
        ConfigurationError: it accepts any certificate or host name, or less than TLS 1.2.
    """
    if not context.check_hostname or context.verify_mode is not ssl.CERT_REQUIRED:
        raise ConfigurationError("the TLS context must verify certificates and host names")
    if context.minimum_version < ssl.TLSVersion.TLSv1_2:
        raise ConfigurationError("the TLS context must not allow less than TLS 1.2")
    return context


def tls_facts(transport: asyncio.BaseTransport | None) -> TlsFacts:
    """What is known of a connection in TLS: its version, and until when the server's certificate is valid."""
    secured = transport.get_extra_info("ssl_object") if transport is not None else None
    certificate = secured.getpeercert() if secured is not None else None
    ends = (certificate or {}).get("notAfter")
    version = (secured.version() if secured is not None else None) or "unknown"
    valid_until = datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC) if isinstance(ends, str) else None
    return TlsFacts(version, valid_until)

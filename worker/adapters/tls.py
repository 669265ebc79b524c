"""TLS as a client: one context for every connection of the process."""

import ssl
from functools import lru_cache
from pathlib import Path

from worker.errors import ConfigurationError


@lru_cache(maxsize=1)  # reading the system's certificates takes tens of milliseconds
def client_context(extra_ca_file: Path | None = None) -> ssl.SSLContext:
    """The shared client context: TLS 1.2 at least, certificate and host name verified.

    The certificates in `extra_ca_file` (PEM) are trusted in addition to the system's.

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

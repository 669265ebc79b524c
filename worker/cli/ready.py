"""`sendas ready`: the readiness of the worker on this host or in this pod."""

import http.client
import ipaddress

from worker.cli.common import print_line
from worker.cli.configured import configured
from worker.errors import ConfigurationError, SendasError

_TIMEOUT_S = 5
_MAX_BYTES = 65_536


def ready() -> int:
    """Print what the worker at SENDAS_HTTP_PORT answers to /readyz: `ok`, or what it waits for, a line each.

    For a worker of this host or pod, also where a network policy lets nothing in from elsewhere. Exit status 0: ready.
    1: not ready, or it does not answer.
    """
    settings = configured(is_quiet=True)
    if not settings.http_port:
        raise ConfigurationError("SENDAS_HTTP_PORT: 0 is any free port, and a worker's cannot be known")
    host = _reachable(settings.http_host)
    connection = http.client.HTTPConnection(host, settings.http_port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        text = answer.read(_MAX_BYTES).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        raise SendasError(f"no worker answers at {host}:{settings.http_port}: {error}") from None
    finally:
        connection.close()
    print_line(text)
    return 0 if answer.status == http.HTTPStatus.OK else 1


def _reachable(host: str) -> str:
    """The address to connect to for a listening address: loopback for "all"."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"

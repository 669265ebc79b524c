"""The broker's address: its URL, parsed and validated before the first connection."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from yarl import URL

from worker.adapters.network.tls import ClientTls, FollowedContext, PemFile
from worker.domain.service_url import parse_service_url
from worker.errors import ConfigurationError

_SETTING = "SENDAS_BROKER_URL"
_SCHEMES = {"amqp": 5672, "amqps": 5671}
_TLS_PARAMETERS = ("cafile", "certfile", "keyfile")
_PARAMETERS = (*_TLS_PARAMETERS, "auth", "heartbeat")
_AUTH = ("plain", "external")

_HEARTBEAT_S = 15  # a dead peer is noticed after three missed ones
_MAX_HEARTBEAT_S = 65_534


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """`url` is for the AMQP library, without TLS parameters; `place` is for logs, without credentials."""

    url: URL = field(repr=False)
    place: str
    tls: FollowedContext | None

    async def context(self) -> ssl.SSLContext | None:
        """The TLS context for the next connection."""
        return await self.tls.current() if self.tls is not None else None


Broker = BrokerAddress | str
"""An address, or its URL if there are no TLS settings."""


def broker_address(url: Broker, tls: ClientTls | None = None) -> BrokerAddress:
    """Parse the broker's URL; `tls` holds the TLS settings, which parameters of the URL override.

    Parameters: `cafile` (trusted instead of all others), `certfile`, `keyfile`, `auth` (`plain` or `external`) and
    `heartbeat` in seconds.

    Raises:
        ConfigurationError: one line that names the setting and what is wrong, without user name and password.
    """
    if isinstance(url, BrokerAddress):
        return url
    try:
        parsed = parse_service_url(url, _SCHEMES)
        _check(parsed.parameters, parsed.scheme)
        location = URL(url)
        [(host, port)] = parsed.hosts
        place = f"{host}:{port or _SCHEMES[parsed.scheme]}{location.path}"
    except ValueError as error:
        raise ConfigurationError(f"{_SETTING}: {error}") from None
    context = _context(parsed.scheme, parsed.parameters, tls or ClientTls())
    kept = {name: value for name, value in parsed.parameters.items() if name not in _TLS_PARAMETERS}
    return BrokerAddress(location.with_query({"heartbeat": str(_HEARTBEAT_S), **kept}), place, context)


def _check(parameters: Mapping[str, str], scheme: str) -> None:
    for name in parameters:
        if name not in _PARAMETERS:
            raise ValueError(f"the parameter {name[:40]} is not known; known are {', '.join(_PARAMETERS)}")
        if name in _TLS_PARAMETERS and scheme != "amqps":
            raise ValueError(f"the parameter {name} needs amqps://")
    heartbeat = parameters.get("heartbeat", "0")
    if not (heartbeat.isascii() and heartbeat.isdigit() and int(heartbeat[:9]) <= _MAX_HEARTBEAT_S):
        raise ValueError(f"the parameter heartbeat is not a number of seconds from 0 to {_MAX_HEARTBEAT_S}")
    if parameters.get("auth", _AUTH[0]).lower() not in _AUTH:
        raise ValueError(f"the parameter auth is none of {', '.join(_AUTH)}")


def _context(scheme: str, parameters: Mapping[str, str], tls: ClientTls) -> FollowedContext | None:
    if scheme != "amqps":
        for file in (tls.certificate, tls.key):
            if file is not None:
                raise ConfigurationError(f"{file.setting}: a client certificate needs amqps:// in {_SETTING}")
        return None
    names = [name for name in _TLS_PARAMETERS if name in parameters]
    given = {name: PemFile(f"{_SETTING}, {name}", Path(parameters[name])) for name in names}
    if "cafile" in given:
        tls = replace(tls, only_authorities=given["cafile"])
    if "certfile" in given:
        tls = replace(tls, certificate=given["certfile"], key=None)
    if "keyfile" in given:
        tls = replace(tls, key=given["keyfile"])
    return FollowedContext(tls)

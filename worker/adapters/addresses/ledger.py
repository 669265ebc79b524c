"""The ledger's address: its URL, parsed and validated before the first connection.

PostgreSQL URLs take libpq's parameters, with one difference: `sslmode=require` verifies as `verify-full` does, because
encryption to an unverified peer protects nothing; weaker modes must be named explicitly.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import unquote

from worker.adapters.network.tls import ClientTls, FollowedContext, PemFile
from worker.domain.service_url import ServiceUrl, parse_service_url
from worker.errors import ConfigurationError

LEDGER_SETTING = "SENDAS_LEDGER_URL"

_SHAPE = "expected sqlite:///PATH/ledger.db or postgresql://USER:PASSWORD@HOST:5432/DATABASE"
_SQLITE = "sqlite:///"
_PORT = 5432

_VERIFIED = ("require", "verify-ca", "verify-full")
_MODES = ("disable", "allow", "prefer", *_VERIFIED)
_TLS_PARAMETERS = ("sslrootcert", "sslcert", "sslkey")
_SYSTEM = "system"  # as in libpq: the system's certificates
_SESSIONS = ("any", "primary", "standby", "prefer-standby", "read-write", "read-only")
_PARAMETERS = (
    "sslmode", *_TLS_PARAMETERS, "application_name", "connect_timeout", "options", "target_session_attrs"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LedgerAddress:
    """A file (`path`), or a server: `arguments` are for `asyncpg.connect`, and may hold a password.

    `connect_timeout_s` limits one connection attempt, if the URL sets it.
    """

    place: str
    path: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    server_settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    tls: FollowedContext | None = None
    weak_mode: Literal["disable", "allow", "prefer"] = "prefer"
    connect_timeout_s: float | None = None

    async def ssl(self) -> ssl.SSLContext | str:
        """The `ssl` argument of asyncpg for the next connection."""
        return await self.tls.current() if self.tls is not None else self.weak_mode


Ledger = LedgerAddress | str
"""An address, or its URL if there are no TLS settings."""


def ledger_address(url: Ledger, tls: ClientTls | None = None, setting: str = LEDGER_SETTING) -> LedgerAddress:
    """Parse the ledger's URL; `tls` holds the TLS settings, which parameters of the URL override.

    `setting` is the variable that errors name: the history database has a URL of the same form.

    Raises:
        ConfigurationError: one line that names the setting and what is wrong, without user name and password.
    """
    if isinstance(url, LedgerAddress):
        return url
    tls = tls or ClientTls()
    try:
        if url.startswith("postgresql://"):
            return _server(parse_service_url(url, ("postgresql",), takes_many_hosts=True), tls, setting)
        return _file(url, tls, setting)
    except ValueError as error:
        raise ConfigurationError(f"{setting}: {error}") from None


def _file(url: str, tls: ClientTls, setting: str) -> LedgerAddress:
    path, query, _ = url.removeprefix(_SQLITE).partition("?")
    if not url.startswith(_SQLITE) or not path or path == ":memory:":
        raise ValueError(_SHAPE)
    if query:
        raise ValueError("sqlite:/// takes no parameters")
    _refuse_certificate(tls, "postgresql://", setting)
    return LedgerAddress(place=path, path=path)


def _server(url: ServiceUrl, tls: ClientTls, setting: str) -> LedgerAddress:
    database = unquote(url.path.removeprefix("/"))
    if not database or "\0" in database:
        raise ValueError(_SHAPE)
    _check(url.parameters)
    hosts = [host for host, _ in url.hosts]
    ports = [port or _PORT for _, port in url.hosts]
    context = _context(url.parameters, tls, setting)
    mode = url.parameters.get("sslmode", "prefer")
    timeout_s = float(url.parameters.get("connect_timeout", 0))
    arguments = {
        "host": hosts,
        "port": ports,
        "user": url.user,
        "password": url.password,
        "database": database,
        "target_session_attrs": url.parameters.get("target_session_attrs", "any"),
    }
    return LedgerAddress(
        place=",".join(f"{host}:{port}" for host, port in zip(hosts, ports, strict=True)) + f"/{database}",
        arguments=MappingProxyType({name: value for name, value in arguments.items() if value is not None}),
        server_settings=MappingProxyType(
            {name: url.parameters[name] for name in ("application_name", "options") if name in url.parameters}
        ),
        tls=context,
        weak_mode=mode if mode in ("disable", "allow") else "prefer",  # type: ignore[arg-type]  # mypy does not narrow by `in`
        connect_timeout_s=timeout_s or None,
    )


def _check(parameters: Mapping[str, str]) -> None:
    for name, value in parameters.items():
        if name not in _PARAMETERS:
            raise ValueError(f"the parameter {name[:40]} is not known; known are {', '.join(_PARAMETERS)}")
        if "\0" in value:
            raise ValueError(f"the parameter {name} contains a NUL")
    _check_choice(parameters, "sslmode", _MODES)
    _check_choice(parameters, "target_session_attrs", _SESSIONS)
    timeout = parameters.get("connect_timeout", "0")
    if not (timeout.isascii() and timeout.isdigit() and len(timeout) < 10):
        raise ValueError("the parameter connect_timeout is not a number of seconds")


def _check_choice(parameters: Mapping[str, str], name: str, choices: tuple[str, ...]) -> None:
    if parameters.get(name, choices[0]) not in choices:
        raise ValueError(f"the parameter {name} is none of {', '.join(choices)}")


def _context(parameters: Mapping[str, str], tls: ClientTls, setting: str) -> FollowedContext | None:
    """The TLS context if TLS is requested: by `sslmode`, by a certificate, or by an authority to trust."""
    given = [name for name in _TLS_PARAMETERS if name in parameters]
    mode = parameters.get("sslmode")
    if mode not in _VERIFIED and mode is not None:
        if given:
            raise ValueError(f"the parameter {given[0]} has no use with sslmode={mode}: say verify-full")
        _refuse_certificate(tls, "sslmode=verify-full", setting)
        return None
    if mode is None and not given and tls.certificate is None and tls.key is None:
        return None
    files = {name: PemFile(f"{setting}, {name}", Path(parameters[name])) for name in given}
    if parameters.get("sslrootcert", _SYSTEM) != _SYSTEM:
        tls = replace(tls, only_authorities=files["sslrootcert"])
    if "sslcert" in files:
        tls = replace(tls, certificate=files["sslcert"], key=None)
    if "sslkey" in files:
        tls = replace(tls, key=files["sslkey"])
    return FollowedContext(replace(tls, checks_host_name=mode != "verify-ca"))


def _refuse_certificate(tls: ClientTls, needed: str, setting: str) -> None:
    for file in (tls.certificate, tls.key):
        if file is not None:
            raise ConfigurationError(f"{file.setting}: a client certificate needs {needed} in {setting}")

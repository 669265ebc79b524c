"""URLs of the services that the worker itself uses (RFC 3986), checked before anything connects to them."""

import ipaddress
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

_PARTS = re.compile(r"[^:/?#]+://([^/?#]*)([^?#]*)(?:\?([^#]*))?")  # RFC 3986 appendix B, without a fragment
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST_NAME = re.compile(r"(?!-)[\w-]{1,63}(?:\.[\w-]{1,63})*\.?")
_MAX_HOST_CHARS = 253
_MAX_PORT = 65_535
_ENCODE = "write / ? # @ % and : in a user name or password percent-encoded"


@dataclass(frozen=True, slots=True)
class ServiceUrl:
    """The parts of a URL, decoded. `hosts` have their ports, None where the URL has none; `path` is still encoded."""

    scheme: str
    user: str | None
    password: str | None = field(repr=False)
    hosts: tuple[tuple[str, int | None], ...]
    path: str
    parameters: Mapping[str, str] = field(repr=False)


def parse_service_url(url: str, schemes: Collection[str], *, takes_many_hosts: bool = False) -> ServiceUrl:
    """Split a URL into its parts.

    Raises:
        ValueError: it is malformed. The text says what is wrong and quotes nothing, as any part may hold a password.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in schemes:
        raise ValueError(f"expected {' or '.join(f'{each}://…' for each in schemes)}")
    if any(character.isspace() or not character.isprintable() for character in url):
        raise ValueError("it contains a space or a control character")
    if _BROKEN_ESCAPE.search(url):
        raise ValueError("a % is not followed by two hexadecimal digits (% itself is written %25)")
    # Not `urlsplit`: since Python 3.13 it refuses a list of hosts that contains an IPv6 address.
    parts = _PARTS.fullmatch(url)
    if parts is None:
        raise ValueError(f"it contains a # ({_ENCODE})")
    authority, path, query = parts.groups(default="")
    _decoded(path)
    credentials, at, hosts = authority.rpartition("@")
    user, _, password = credentials.partition(":")
    listed = hosts.split(",") if takes_many_hosts else [hosts]
    return ServiceUrl(
        scheme,
        _decoded(user) if at else None,
        _decoded(password) if ":" in credentials else None,
        tuple(_host_and_port(each) for each in listed),
        path,
        _parameters(query),
    )


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("what is percent-encoded in it is not UTF-8") from None


def _host_and_port(text: str) -> tuple[str, int | None]:
    host, bracket, rest = text.partition("]")
    if not bracket:
        host, colon, port = text.partition(":")
    elif host.startswith("[") and (not rest or rest.startswith(":")):
        host, colon, port = host[1:], rest[:1], rest[1:]
    else:
        raise ValueError("the host is not a name or an address")
    return _checked_host(host, is_bracketed=bool(bracket)), _port(port) if colon else None


def _checked_host(host: str, *, is_bracketed: bool) -> str:
    if not host:
        raise ValueError("it names no host")
    if is_bracketed:
        try:
            return str(ipaddress.IPv6Address(host))
        except ValueError:
            raise ValueError("the host is not a name or an address") from None
    host = _decoded(host)
    if len(host) > _MAX_HOST_CHARS or not _HOST_NAME.fullmatch(host):
        raise ValueError("the host is not a name or an address")
    return host


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_PORT)) and 0 < int(text) <= _MAX_PORT):
        raise ValueError(f"the port is not a number from 1 to {_MAX_PORT} ({_ENCODE})")
    return int(text)


def _parameters(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in query.split("&") if query else ():
        name, equals, value = part.partition("=")
        name = _decoded(name)
        if not name or not equals:
            raise ValueError("after the ? each parameter is written NAME=VALUE")
        if name in found:
            raise ValueError(f"the parameter {name[:40]} is given twice")
        found[name] = _decoded(value)
    return found

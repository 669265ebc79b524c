"""Reverse proxies in front of the console: the client's address, and the identity that a trusted proxy asserts."""

import ipaddress
from collections.abc import Sequence

from starlette.requests import Request

from worker.console_settings import Network

_MOST_HEADER_CHARS = 4_000
_MOST_GROUPS = 100


class Proxies:
    """The networks whose forwarding headers are trusted."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks

    def is_trusted(self, request: Request) -> bool:
        """Whether the request comes directly from a trusted proxy."""
        return request.client is not None and self._is_one(request.client.host)

    def client(self, request: Request) -> str:
        """The client's address: the last one in `X-Forwarded-For` that is not a trusted proxy."""
        peer = request.client.host if request.client is not None else "unknown"
        if not self._is_one(peer):
            return peer
        forwarded = ",".join(request.headers.getlist("x-forwarded-for"))[-_MOST_HEADER_CHARS:]
        for address in reversed([each.strip() for each in forwarded.split(",") if each.strip()]):
            if not self._is_one(address):
                return address[:100]
        return peer

    def _is_one(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(ip in network for network in self._networks)


class ProxySignIn:
    """A person's name and groups, from headers that a trusted proxy sets."""

    def __init__(self, proxies: Proxies, user_header: str, groups_header: str) -> None:
        self._proxies = proxies
        self._user_header = user_header
        self._groups_header = groups_header

    def named(self, request: Request) -> tuple[str, tuple[str, ...]] | None:
        """The identity that the proxy asserts; None if the request is not from a proxy or names no single person."""
        if not self._proxies.is_trusted(request):
            return None
        names = request.headers.getlist(self._user_header)
        if len(names) != 1 or not names[0].strip():
            return None
        groups = ",".join(request.headers.getlist(self._groups_header))[:_MOST_HEADER_CHARS]
        return names[0].strip(), tuple(each.strip() for each in groups.split(",") if each.strip())[:_MOST_GROUPS]

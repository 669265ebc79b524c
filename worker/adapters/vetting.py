"""The egress guard's two holds on aiohttp: what its names resolve to, and which sockets it may have."""

import errno
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, ip_address

from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

from worker.adapters.dialing import DialError
from worker.adapters.egress import EgressGuard


class RefusedLookup(OSError):
    """Carries a `DialError` through aiohttp, which lets only `OSError` pass a resolver."""

    def __init__(self, denial: DialError) -> None:
        super().__init__(str(denial))
        self.denial = denial


class VettingResolver(AbstractResolver):
    """Gives aiohttp the vetted addresses of a name."""

    def __init__(self, guard: EgressGuard, usual_ports: frozenset[int]) -> None:
        self._guard = guard
        self._usual_ports = usual_ports

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - both families are always asked for
    ) -> list[ResolveResult]:
        """See `AbstractResolver`; the exchange around it bounds the time."""
        try:
            addresses = await self._guard.vetted(host, port, self._usual_ports, timeout_s=60)
        except DialError as denial:
            raise RefusedLookup(denial) from None
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing of its own to close."""


def vetting_socket_factory(guard: EgressGuard, usual_ports: frozenset[int]) -> Callable[[AddrInfoType], socket.socket]:
    """Makes a connector's sockets, for allowed addresses only: the last gate.

    aiohttp asks no resolver about hosts that look like addresses to it, but it makes every socket here.
    """

    def vetted_socket(info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, (host, port, *_) = info
        if guard.policy.refusal(ip_address(str(host)), int(port), usual_ports) is not None:
            raise PermissionError(errno.EACCES, "not allowed by the egress policy")
        return socket.socket(family, kind, protocol)

    return vetted_socket

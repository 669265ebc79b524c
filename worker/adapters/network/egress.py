"""The egress guard: the only way to hosts chosen by customers.

A name is looked up once, each address is vetted, and the connection goes to exactly the vetted address, so that a name
which resolves differently a moment later (DNS rebinding) gains nothing. If a name has allowed and forbidden addresses,
only the allowed ones are used: as no name is looked up again, that is as safe as refusing, and a customer's stray
record does not stop their mail.
"""

import asyncio
import errno
import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import chain, zip_longest
from typing import Protocol

from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

from worker.adapters.network.silent_names import SilentNames
from worker.delivery.places import USUAL, FairShares, Holder, Places, acting_for
from worker.domain.egress import EgressPolicy, special_range
from worker.domain.hosts import IpAddress, NumericSpelling, parse_host
from worker.domain.internal_names import is_localhost
from worker.domain.transmission import FailureKind
from worker.errors import SendasError

INSIDE_S = 1.0
"""Look-up limit for an internal name, and the fixed time of its refusal; a cluster's DNS answers in milliseconds."""

_MAX_ADDRESSES = 8
_LOCALHOST = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
# EAI_NODATA does not exist on every platform.
_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


class DialError(SendasError):
    """The connection failed; `fault` gives the step (name, policy, connection, time)."""

    def __init__(self, message: str, fault: FailureKind) -> None:
        super().__init__(message)
        self.fault = fault


class Dialer(Protocol):
    """Connects to vetted addresses only."""

    async def dial(self, host: str, port: int, timeout_s: float) -> socket.socket:
        """A connected non-blocking TCP socket (with TCP_NODELAY) to one of the host's vetted addresses.

        Raises:
            DialError: with fault `dns`, `egress`, `connect` or `timeout`.
        """


class Aliased(list[str]):
    """Addresses of the canonical name behind an alias (CNAME)."""


class Resolver(Protocol):
    """Resolves names."""

    async def addresses(self, name: str) -> Sequence[str]:
        """The name's addresses as text, best first.

        The name is absolute although it has no trailing dot: no search domain is appended. `Aliased` if the name is
        known to be an alias.

        Raises:
            socket.gaierror: with the resolver's own code.
            OSError: the resolver cannot be queried.
        """


class SystemResolver:
    """The system's resolver.

    It blocks a thread for as long as a name's servers do not respond. So it has its own threads, shared fairly between
    accounts, so that one account's silent names never delay another's mail; concurrent callers share one look-up per
    name; and a name that did not respond has a cooldown before the next look-up (`silent_names`).

    Args:
        is_absolute: whether names are absolute, as customers' must be; the operator's own may be short.
    """

    def __init__(
        self,
        max_threads: int = 32,
        shares: FairShares = USUAL,
        *,
        is_absolute: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threads = ThreadPoolExecutor(max_threads, thread_name_prefix="resolver")
        self._places = Places(max_threads, shares)
        self._monotonic = monotonic
        self._silent = SilentNames(monotonic)
        # The trailing dot makes the name absolute: no search domain applies, and no line of /etc/hosts matches.
        self._end = "." if is_absolute else ""
        self._under_way: dict[str, asyncio.Future[list[str]]] = {}

    async def addresses(self, name: str) -> list[str]:
        """See `Resolver`."""
        lookup = self._under_way.get(name)
        if lookup is None:
            # Each caller waits for its own slot: otherwise one whose share is used up would delay the others.
            holder = acting_for()
            self._refuse_silent(name)
            await self._places.wait(holder)
            lookup = self._under_way.get(name)
            if lookup is not None:
                self._places.give_back(holder)
            else:
                lookup = self._begin(name, holder)
        await asyncio.wait({lookup})  # unlike awaiting it: one caller's timeout must not cancel it for the others
        return lookup.result()

    def _refuse_silent(self, name: str) -> None:
        if name in self._silent:
            raise socket.gaierror(socket.EAI_AGAIN, "it did not answer a short while ago")

    def _begin(self, name: str, holder: Holder) -> asyncio.Future[list[str]]:
        began_s = self._monotonic()
        try:
            self._refuse_silent(name)
            lookup = asyncio.get_running_loop().run_in_executor(self._threads, _look_up, name + self._end)
        except BaseException:  # also when the threads are shutting down: the slot must not be lost
            self._places.give_back(holder)
            raise
        self._under_way[name] = lookup
        lookup.add_done_callback(lambda done: self._finish(name, holder, began_s, done))
        return lookup

    def _finish(self, name: str, holder: Holder, began_s: float, lookup: asyncio.Future[list[str]]) -> None:
        del self._under_way[name]
        self._places.give_back(holder)
        if lookup.cancelled():
            return
        error = lookup.exception()  # seen: the callers may all have gone by now
        if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
            self._silent.failed(name, self._monotonic() - began_s)
        else:
            self._silent.answered(name)

    def close(self) -> None:
        """Shut the threads down; look-ups that have not started are dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(name: str) -> list[str]:
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
    addresses = [str(sockaddr[0]) for _, _, _, _, sockaddr in found]
    canonical = found[0][3].rstrip(".").lower() if found else ""
    return Aliased(addresses) if canonical not in ("", name.rstrip(".")) else addresses


class EgressGuard:
    """Resolves hosts and returns only allowed addresses."""

    def __init__(self, policy: EgressPolicy, resolver: Resolver, *, inside_s: float = INSIDE_S) -> None:
        self.policy = policy
        self._resolver = resolver
        self._inside_s = inside_s

    async def vetted(self, host: str, port: int, usual_ports: frozenset[int], timeout_s: float) -> list[IpAddress]:
        """The allowed addresses of a host, one to eight, alternating between address families.

        Raises:
            DialError: with fault `egress` when policy refuses, `dns` when the name cannot be looked up.
        """
        try:
            parsed = parse_host(host)
        except NumericSpelling as error:
            raise DialError(str(error), FailureKind.EGRESS) from None
        except ValueError as error:
            raise DialError(f"{error} (permanent)", FailureKind.DNS) from None
        if isinstance(parsed, str) and self.policy.hides(parsed):
            return await self._vetted_inside(parsed, port, usual_ports, timeout_s)
        if not isinstance(parsed, str):
            return self._allowed(parsed, [parsed], port, usual_ports)
        found, is_alias = await self._look_up(parsed, timeout_s)
        try:
            return self._allowed(parsed, found, port, usual_ports)
        except DialError:
            is_special = all(special_range(address) for address in found)
            if is_alias and is_special and not self.policy.is_operators:
                # Possibly of an internal name, whose existence an error would reveal to the alias's owner.
                raise DialError(_no_such_name(parsed), FailureKind.DNS) from None
            raise

    def _allowed(
        self, host: IpAddress | str, found: Iterable[IpAddress], port: int, usual_ports: frozenset[int]
    ) -> list[IpAddress]:
        refusals = {address: self.policy.refusal(address, port, usual_ports) for address in found}
        good = [address for address, refusal in refusals.items() if refusal is None]
        if not good:
            reasons = "; ".join(sorted({refusal for refusal in refusals.values() if refusal}))
            raise DialError(f"connecting to {host} is not allowed: {reasons}", FailureKind.EGRESS)
        return _families_in_turn(good)[:_MAX_ADDRESSES]

    async def _vetted_inside(
        self, name: str, port: int, usual_ports: frozenset[int], timeout_s: float
    ) -> list[IpAddress]:
        """As `vetted`, for an internal name, with the same answer for missing and for forbidden names.

        Without an exception by the operator nothing internal is allowed, and nothing is looked up. With one, a refusal
        takes constant time, whatever the name server answers and when. The fault is then DNS, after which letters wait:
        the name may be that of the platform's own relay, during a short outage of the cluster's DNS.
        """
        refused = f"{name} is a name of an internal network: nothing is there that may be connected to"
        if not self.policy.allowed:
            raise DialError(refused, FailureKind.EGRESS)
        loop = asyncio.get_running_loop()
        refused_at_s = loop.time() + min(timeout_s, self._inside_s)
        try:
            found, _ = await self._look_up(name, refused_at_s - loop.time())
            return self._allowed(name, found, port, usual_ports)
        except DialError:
            await asyncio.sleep(refused_at_s - loop.time())
        raise DialError(refused, FailureKind.DNS)

    async def _look_up(self, name: str, timeout_s: float) -> tuple[list[IpAddress], bool]:
        """The addresses, and whether the name is an alias."""
        if is_localhost(name):  # resolved without a name server or a hosts file
            return list(_LOCALHOST), False
        try:
            async with asyncio.timeout(timeout_s):
                texts = await self._resolver.addresses(name)
        except TimeoutError:
            raise DialError(f"no answer from DNS for {name} (temporary)", FailureKind.DNS) from None
        except socket.gaierror as error:
            raise DialError(_lookup_failure(name, error), FailureKind.DNS) from None
        except OSError as error:
            raise DialError(f"{name} cannot be looked up: {_reason(error)} (temporary)", FailureKind.DNS) from None
        addresses = _parse_addresses(texts)
        if not addresses:
            raise DialError(f"{name} has no address (permanent)", FailureKind.DNS)
        return addresses, isinstance(texts, Aliased)


def _no_such_name(name: str) -> str:
    return f"there is no host {name} (permanent)"


def _lookup_failure(name: str, error: socket.gaierror) -> str:
    if error.errno in _NO_SUCH_NAME:
        return _no_such_name(name)
    return f"{name} cannot be looked up now (temporary)"


def _parse_addresses(texts: Iterable[str]) -> list[IpAddress]:
    addresses: list[IpAddress] = []
    for text in texts:
        with suppress(ValueError):
            # The zone (`fe80::1%eth0`) is irrelevant to the policy, which matches the address without it.
            addresses.append(ip_address(text.partition("%")[0]))
    return addresses


def _families_in_turn(addresses: Sequence[IpAddress]) -> list[IpAddress]:
    first_kind = type(addresses[0])
    first = [address for address in addresses if type(address) is first_kind]
    second = [address for address in addresses if type(address) is not first_kind]
    return [address for address in chain.from_iterable(zip_longest(first, second)) if address is not None]


class GuardedDialer:
    """Connects to vetted addresses only; implements `Dialer` for one use, whose usual ports it knows."""

    def __init__(self, guard: EgressGuard, usual_ports: frozenset[int]) -> None:
        self._guard = guard
        self._usual_ports = usual_ports

    async def dial(self, host: str, port: int, timeout_s: float) -> socket.socket:
        """See `Dialer`. The time includes the look-up; the addresses share the remaining time equally."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        addresses = await self._guard.vetted(host, port, self._usual_ports, timeout_s)
        failures: list[OSError] = []
        for position, address in enumerate(addresses):
            share_s = (deadline - loop.time()) / (len(addresses) - position)
            try:
                async with asyncio.timeout(share_s):
                    return await _connect(address, port)
            except OSError as error:  # TimeoutError is one too
                failures.append(error)
        raise _dial_error(host, port, failures)


async def _connect(address: IpAddress, port: int) -> socket.socket:
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(connection, (str(address), port))
    except BaseException:  # also cancellation: no one else holds a reference to this socket
        connection.close()
        raise
    return connection


def _dial_error(host: str, port: int, failures: Sequence[OSError]) -> DialError:
    fault = (
        FailureKind.TIMEOUT if all(isinstance(failure, TimeoutError) for failure in failures) else FailureKind.CONNECT
    )
    reasons = "; ".join(dict.fromkeys(map(_reason, failures)))
    return DialError(f"cannot connect to {parse_host(host)} port {port}: {reasons}", fault)


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return os.strerror(error.errno).lower() if error.errno else "it failed"


class RefusedLookup(OSError):
    """Carries a `DialError` through aiohttp, which lets only `OSError` pass a resolver."""

    def __init__(self, denial: DialError) -> None:
        super().__init__(str(denial))
        self.denial = denial


class VettingResolver(AbstractResolver):
    """Supplies aiohttp with the vetted addresses of a name."""

    def __init__(self, guard: EgressGuard, usual_ports: frozenset[int]) -> None:
        self._guard = guard
        self._usual_ports = usual_ports

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - both families are always asked for
    ) -> list[ResolveResult]:
        """See `AbstractResolver`; the surrounding exchange bounds the time."""
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
    """Creates a connector's sockets, for allowed addresses only: the final check.

    aiohttp skips the resolver for hosts that it takes for addresses, but it creates every socket here.
    """

    def vetted_socket(info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, (host, port, *_) = info
        if guard.policy.refusal(ip_address(str(host)), int(port), usual_ports) is not None:
            raise PermissionError(errno.EACCES, "not allowed by the egress policy")
        return socket.socket(family, kind, protocol)

    return vetted_socket

"""Limits on a DNS answer, enforced before the library parses it.

A customer's zone chooses the records, and the library compares all their names with each other, label by label: an
answer of 64 kB with long names took 14 seconds, in the event loop. So an answer is weighed first, by its sections'
counts and by the labels of its names, following compression (RFC 1035 section 4.1.4).
"""

import socket
import struct
from typing import Any, Self

import dns.asyncbackend
import dns.exception

MAX_ANSWER_BYTES = 8 * 1024  # over TCP; records of mail and of domains' owners have a few kilobytes at most
MAX_RECORDS = 128  # in all sections
MAX_LABELS = 1_000  # of all names: some milliseconds
_MAX_LABELS_OF_A_NAME = 128  # RFC 1035 section 2.3.4: 255 bytes
_HEADER = struct.Struct(">6H")
_RECORD = struct.Struct(">HHIH")
_QUESTION_BYTES = 4
_LENGTH_BYTES = 2  # before a message over TCP (RFC 1035 section 4.2.2)
_POINTER = 0xC0
# Where the names begin in the data of each type that may stand in an answer to what is asked here, and how many:
# NS, CNAME, SOA, PTR, MX, DNAME; and A, TXT, AAAA, OPT, which hold none.
_NAMES_IN_DATA = {2: (0, 1), 5: (0, 1), 6: (0, 2), 12: (0, 1), 15: (2, 1), 39: (0, 1)} | dict.fromkeys(
    (1, 16, 28, 41), (0, 0)
)


class HeavyAnswer(dns.exception.FormError):
    """An answer that exceeds the limits."""


def require_light(wire: bytes) -> None:
    """Raise `HeavyAnswer` for an answer that would be slow to parse, or that cannot be parsed at all."""
    try:
        if len(wire) > MAX_ANSWER_BYTES or _labels(wire) > MAX_LABELS:
            raise HeavyAnswer
    except (struct.error, IndexError):
        raise HeavyAnswer from None


def _labels(wire: bytes) -> int:
    _, _, questions, *records = _HEADER.unpack_from(wire)
    if questions > 1 or sum(records) > MAX_RECORDS:
        raise HeavyAnswer
    at, total = _HEADER.size, 0
    for _ in range(questions):
        labels, at = _name(wire, at)
        total, at = total + labels, at + _QUESTION_BYTES
    for _ in range(sum(records)):
        labels, at = _name(wire, at)
        kind, _, _, size = _RECORD.unpack_from(wire, at)
        at += _RECORD.size
        if kind not in _NAMES_IN_DATA:
            raise HeavyAnswer
        inside, names = _NAMES_IN_DATA[kind]
        inside += at
        total += labels
        for _ in range(names):
            labels, inside = _name(wire, inside)
            total += labels
        at += size
    return total


def _name(wire: bytes, at: int) -> tuple[int, int]:
    """The number of labels of the name at that position, and its end; pointers may only point backwards."""
    labels, end = 0, 0
    while (size := wire[at]) and labels <= _MAX_LABELS_OF_A_NAME:
        if size >= _POINTER:
            target = (size - _POINTER) << 8 | wire[at + 1]
            if target >= at:
                raise HeavyAnswer
            end, at = end or at + 2, target
        else:
            labels, at = labels + 1, at + 1 + size
    if labels > _MAX_LABELS_OF_A_NAME:
        raise HeavyAnswer
    return labels, end or at + 1


class WeighingBackend:
    """The library's network `Backend`, with every answer weighed."""

    def __init__(self) -> None:
        self._inner: Any = dns.asyncbackend.get_backend("asyncio")

    def name(self) -> str:
        return str(self._inner.name())

    async def make_socket(self, af: int, socktype: int, *args: Any, **options: Any) -> Any:
        made = await self._inner.make_socket(af, socktype, *args, **options)
        return _Datagrams(made) if socktype == socket.SOCK_DGRAM else _Stream(made)

    def datagram_connection_required(self) -> bool:
        return bool(self._inner.datagram_connection_required())

    async def sleep(self, interval: float) -> None:
        await self._inner.sleep(interval)


class _Wrapped:
    """Delegates everything unchanged."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.family, self.type = inner.family, inner.type

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._inner.close()

    async def close(self) -> None:
        await self._inner.close()

    async def getpeername(self) -> Any:
        return await self._inner.getpeername()

    async def getsockname(self) -> Any:
        return await self._inner.getsockname()


class _Datagrams(_Wrapped):
    async def sendto(self, what: Any, destination: Any, timeout: float | None) -> Any:
        return await self._inner.sendto(what, destination, timeout)

    async def recvfrom(self, size: int, timeout: float | None) -> Any:
        wire, sender = await self._inner.recvfrom(size, timeout)
        require_light(wire)
        return wire, sender


class _Stream(_Wrapped):
    """One answer over one connection: returns nothing before all of it has arrived and been weighed."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._answer = b""

    async def sendall(self, what: Any, timeout: float | None) -> Any:
        return await self._inner.sendall(what, timeout)

    async def recv(self, size: int, timeout: float | None) -> bytes:
        if not self._answer:
            prefix = await self._exactly(_LENGTH_BYTES, timeout)
            length = int.from_bytes(prefix, "big")
            if length > MAX_ANSWER_BYTES:
                raise HeavyAnswer
            wire = await self._exactly(length, timeout)
            require_light(wire)
            self._answer = prefix + wire
        given, self._answer = self._answer[:size], self._answer[size:]
        return given

    async def _exactly(self, size: int, timeout: float | None) -> bytes:
        read = bytearray()
        while len(read) < size:
            more = await self._inner.recv(size - len(read), timeout)
            if not more:
                raise EOFError
            read += more
        return bytes(read)

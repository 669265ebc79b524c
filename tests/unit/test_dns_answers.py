"""What a DNS answer may hold before the library reads it, and that it does not reach the library otherwise."""

import asyncio
import struct
from typing import cast

import pytest

from worker.adapters.network.dns import DnsLookups
from worker.adapters.network.dns_answers import MAX_ANSWER_BYTES, HeavyAnswer, require_light
from worker.domain.probe import LookupOutcome, RecordType

_LONG_NAME = b"\x01a" * 126 + b"\x00"
_SHORT_NAME = b"\x04acme\x07example\x00"


def answer(question: bytes, records: list[bytes], kind: int = 15, ident: int = 1) -> bytes:
    header = struct.pack(">6H", ident, 0x8180, 1, len(records), 0, 0)
    return header + question + struct.pack(">HH", kind, 1) + b"".join(records)


def record(kind: int, data: bytes, owner: bytes = b"\xc0\x0c") -> bytes:
    return owner + struct.pack(">HHIH", kind, 1, 60, len(data)) + data


def exchanger(preference: int, host: bytes = b"\xc0\x0c") -> bytes:
    return record(15, struct.pack(">H", preference) + host)


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(answer(_SHORT_NAME, [exchanger(n) for n in range(20)]), id="twenty exchangers"),
        pytest.param(answer(_SHORT_NAME, [record(16, b"\xffv=spf1" + b"a" * 249)] * 25, 16), id="many texts"),
        pytest.param(answer(_LONG_NAME, [exchanger(1)]), id="one long name"),
        pytest.param(answer(_SHORT_NAME, []), id="nothing"),
    ],
)
def test_ordinary_answers_are_read(wire: bytes) -> None:
    require_light(wire)


@pytest.mark.parametrize(
    "wire",
    [
        pytest.param(answer(_LONG_NAME, [exchanger(n) for n in range(10)]), id="ten long names"),
        pytest.param(answer(_SHORT_NAME, [exchanger(n) for n in range(500)]), id="many records"),
        pytest.param(answer(_SHORT_NAME, [record(99, b"")]), id="a type that is not asked for"),
        pytest.param(answer(_SHORT_NAME, [exchanger(1, b"\xc0\xff")]), id="a pointer forward"),
        pytest.param(answer(_SHORT_NAME, [exchanger(1)])[:-1], id="cut off"),
        pytest.param(answer(b"\xc0\x0c", []), id="a pointer to itself"),
        pytest.param(b"", id="empty"),
        pytest.param(answer(_SHORT_NAME, [record(16, b"\xff" + b"a" * 255)] * 70, 16), id="too many bytes"),
    ],
)
def test_heavy_and_broken_answers_are_not_read(wire: bytes) -> None:
    """If an answer would take long to read, then it counts as none."""
    with pytest.raises(HeavyAnswer):
        require_light(wire)


class _Silent(asyncio.DatagramProtocol):
    """Over UDP it says only that the answer is too long for it, so that it is asked for over TCP."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)  # its class says so from Python 3.12 on only

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data[:2] + b"\x83\x80" + data[4:], addr)  # TC, RA


@pytest.mark.parametrize(
    ("records", "outcome"),
    [
        ([exchanger(n) for n in range(20)], LookupOutcome.FOUND),
        ([exchanger(n) for n in range(3_000)], LookupOutcome.FAILED),
        ([exchanger(n) for n in range(500)], LookupOutcome.FAILED),
    ],
)
async def test_an_answer_over_tcp_is_weighed_too(records: list[bytes], outcome: LookupOutcome) -> None:
    """If a zone answers with thousands of records over TCP, then the question failed, at once."""
    assert len(answer(_SHORT_NAME, records)) > MAX_ANSWER_BYTES or len(records) < 3_000

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(2), "big")
        query = await reader.readexactly(length)
        wire = answer(query[12 : query.index(b"\0", 12) + 1], records, ident=int.from_bytes(query[:2], "big"))
        writer.write(len(wire).to_bytes(2, "big") + wire)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(_Silent, local_addr=("127.0.0.1", port))
    try:
        found = await DnsLookups(f"127.0.0.1:{port}").ask("acme.example", RecordType.MX)
    finally:
        transport.close()
        server.close()
        await server.wait_closed()
    assert found.outcome is outcome
    assert len(found.records) == (len(records) if outcome is LookupOutcome.FOUND else 0)

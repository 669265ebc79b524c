"""What workers say on their health ports, asked over real connections on loopback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry, Gauge

from stack.ports import free_ports
from worker.adapters.health_server import serve_http
from worker.adapters.worker_status import WorkerHealthPorts, WorkerStatus
from worker.telemetry.health import Health


@asynccontextmanager
async def a_worker(problem: str | None = None) -> AsyncIterator[str]:
    registry, health = CollectorRegistry(), Health()
    in_flight = Gauge("sendas_in_flight", "", ["queue"], registry=registry)
    in_flight.labels("sendas.outbound").set(3)
    in_flight.labels("sendas.sent-copy").set(2)
    Gauge("sendas_oldest_unfinished_event_seconds", "", registry=registry).set(41.5)
    health.require("ledger", lambda: problem)
    async with serve_http("127.0.0.1", 0, health, registry) as port:
        yield f"127.0.0.1:{port}"


@asynccontextmanager
async def a_stranger(answer: bytes) -> AsyncIterator[str]:
    """Something else at a worker's address."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_all_are_asked_and_each_is_told_of() -> None:
    [nobody] = free_ports(1)
    async with a_worker() as ready, a_worker("away") as waiting:
        urls = [f"http://{place}" for place in (ready, waiting, f"127.0.0.1:{nobody}", "no-such-host.invalid:80")]
        looks = await WorkerHealthPorts(urls).look()
    assert looks[0] == WorkerStatus(ready, [], 5, 41.5)
    assert looks[1] == WorkerStatus(waiting, ["ledger: away"], 5, 41.5)
    assert [look.problems for look in looks[2:]] == [None, None]
    assert [look.is_ready for look in looks] == [True, False, False, False]


async def test_without_addresses_there_are_none() -> None:
    assert await WorkerHealthPorts([]).look() == ()


@pytest.mark.parametrize(
    ("answer", "is_there"),
    [
        (b"SSH-2.0-OpenSSH\r\n", False),
        (b"", False),
        (b"HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\n\r\nsendas_in_flight NaN\nsendas_in_flight +Inf\n", True),
        (b"HTTP/1.1 200 OK\r\n\r\nsendas_in_flight{ 3\nsendas_in_flight NaN\n\xff", True),
    ],
)
async def test_what_is_no_worker_is_no_obstacle(answer: bytes, *, is_there: bool) -> None:
    async with a_stranger(answer) as place:
        [look] = await WorkerHealthPorts([f"http://{place}"]).look()
    assert (look.problems is not None) is is_there
    assert look.in_flight == 0

"""Health and metrics over a real connection."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from worker.adapters.health_server import HttpBounds, serve_http
from worker.domain.vocabulary import Outcome, Reason
from worker.errors import ConfigurationError
from worker.telemetry.health import Health
from worker.telemetry.metrics import READINGS, Metrics, Readings


async def get(port: int, path: str) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as response:
        return response.status, response.headers["Content-Type"], await response.text()


async def test_liveness_needs_nothing_but_the_loop() -> None:
    """If everything remote is away, then the process is still not restarted for it."""
    health = Health()
    health.require("ledger", lambda: "away")
    async with serve_http("127.0.0.1", 0, health, CollectorRegistry()) as port:
        assert (await get(port, "/livez"))[::2] == (200, "ok\n")


async def test_readiness_says_in_words_what_is_missing() -> None:
    """If a condition does not hold, then the answer is 503 with its name and problem; when all hold, 200."""
    health = Health()
    problems: dict[str, str | None] = {"broker": "no connection", "ledger": None}
    health.require("broker", lambda: problems["broker"])
    health.require("ledger", lambda: problems["ledger"])
    async with serve_http("127.0.0.1", 0, health, CollectorRegistry()) as port:
        assert (await get(port, "/readyz"))[::2] == (503, "broker: no connection\n")
        problems["ledger"] = "locked"
        assert (await get(port, "/readyz"))[::2] == (503, "broker: no connection\nledger: locked\n")
        problems.update(broker=None, ledger=None)
        assert (await get(port, "/readyz"))[::2] == (200, "ok\n")
        health.drain()
        status, _, text = await get(port, "/readyz")
        assert (status, "draining" in text) == (503, True)


async def test_nothing_else_is_served() -> None:
    async with serve_http("127.0.0.1", 0, Health(), CollectorRegistry()) as port:
        assert (await get(port, "/"))[0] == 404
        async with aiohttp.ClientSession() as session, session.post(f"http://127.0.0.1:{port}/metrics") as response:
            assert response.status == 405


async def test_prometheus_accepts_a_scrape() -> None:
    """If Prometheus's own tool reads a scrape, then it has nothing to say against it."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.build.info({"version": "1"})
    metrics.letters.labels(outcome=Outcome.FAILED.value, reason=Reason.EXPIRED.value).inc()
    metrics.stage.labels(stage="mail").observe(0.1)
    Readings(registry, READINGS).add("sendas_lanes_waiting", lambda: 2)
    async with serve_http("127.0.0.1", 0, Health(), registry) as port:
        status, content_type, text = await get(port, "/metrics")
    assert status == 200
    assert content_type.startswith("text/plain; version=")
    assert "sendas_lanes_waiting 2.0" in text
    checked = subprocess.run(  # noqa: ASYNC221 - nothing else runs
        ["promtool", "check", "metrics"], input=text, text=True, capture_output=True, timeout=30, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


async def test_a_port_that_is_taken_is_a_wrong_setting() -> None:
    """If the port cannot be had, then the start ends with the setting's name."""
    async with serve_http("127.0.0.1", 0, Health(), CollectorRegistry()) as port:
        with pytest.raises(ConfigurationError, match=f"^SENDAS_HTTP_PORT: cannot listen on 127.0.0.1:{port}: "):
            async with serve_http("127.0.0.1", port, Health(), CollectorRegistry()):
                pass


class CountedScrapes(Collector):
    def __init__(self) -> None:
        self.scrapes = 0

    def collect(self) -> Iterator[Metric]:
        self.scrapes += 1
        yield GaugeMetricFamily("scrapes", "How often.", value=self.scrapes)


HALF_A_REQUEST = b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: "


@asynccontextmanager
async def crowd(port: int, size: int, words: bytes) -> AsyncIterator[list[asyncio.StreamReader]]:
    """So many connections that said these words and keep silent from then on."""
    writers, readers = [], []
    try:
        for _ in range(size):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(words)
            readers.append(reader)
            writers.append(writer)
        yield readers
    finally:
        for writer in writers:
            writer.close()


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What came before the connection was closed."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def test_a_crowd_of_half_sent_requests_keeps_no_probe_from_its_answer() -> None:
    """If somebody opens hundreds of connections and says nothing on them, then the kubelet still gets its answer."""
    async with (
        serve_http("127.0.0.1", 0, Health(), CollectorRegistry(), HttpBounds(connections=20)) as port,
        crowd(port, 300, HALF_A_REQUEST) as readers,
    ):
        for _ in range(20):
            assert (await get(port, "/livez"))[0] == 200
        closed = [asyncio.create_task(ended(reader)) for reader in readers[:280]]
        assert set(await asyncio.gather(*closed)) == {b""}, "the oldest made room"


async def test_a_half_sent_request_ends_in_time() -> None:
    bounds = HttpBounds(connection_s=0.1)
    async with (
        serve_http("127.0.0.1", 0, Health(), CollectorRegistry(), bounds) as port,
        crowd(port, 3, HALF_A_REQUEST) as readers,
    ):
        assert [await ended(reader) for reader in readers] == [b""] * 3


@pytest.mark.parametrize(
    "words",
    [
        b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 10_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: x\r\n" % n for n in range(500)) + b"\r\n",
    ],
    ids=["a long header", "a long line", "many headers"],
)
async def test_headers_are_bounded_and_nothing_is_logged(words: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with (
        serve_http("127.0.0.1", 0, Health(), CollectorRegistry()) as port,
        crowd(port, 1, words) as [reader],
    ):
        assert (await ended(reader)).startswith(b"HTTP/1.0 400")
    assert caplog.records == []


async def test_a_connection_carries_one_request() -> None:
    async with (
        serve_http("127.0.0.1", 0, Health(), CollectorRegistry()) as port,
        crowd(port, 1, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 50) as [reader],
    ):
        assert (await ended(reader)).count(b"HTTP/1.1 200") == 1


async def test_metrics_are_rendered_once_for_all_who_ask_at_the_same_time() -> None:
    registry, counted = CollectorRegistry(), CountedScrapes()
    registry.register(counted)
    counted.scrapes = 0  # registering asks once
    async with serve_http("127.0.0.1", 0, Health(), registry, HttpBounds(metrics_s=60)) as port:
        pages = await asyncio.gather(*(get(port, "/metrics") for _ in range(30)))
    assert counted.scrapes == 1
    assert {status for status, _, _ in pages} == {200}


async def test_metrics_are_rendered_anew_when_their_time_is_over() -> None:
    registry, counted = CollectorRegistry(), CountedScrapes()
    registry.register(counted)
    counted.scrapes = 0
    async with serve_http("127.0.0.1", 0, Health(), registry, HttpBounds(metrics_s=0)) as port:
        assert "scrapes 1.0" in (await get(port, "/metrics"))[2]
        assert "scrapes 2.0" in (await get(port, "/metrics"))[2]

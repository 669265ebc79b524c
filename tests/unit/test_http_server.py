"""Health and metrics over a real connection."""

import subprocess

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from worker.adapters.http_server import serve_http
from worker.domain.vocabulary import Outcome, Reason
from worker.errors import ConfigurationError
from worker.telemetry.health import Health
from worker.telemetry.metrics import READINGS, Metrics
from worker.telemetry.readings import Readings


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

"""`sendas ready` asks the worker of this host, and says what it waits for."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from worker.adapters.health_server import serve_http
from worker.cli import status
from worker.telemetry.health import Health


@pytest.mark.parametrize("listens_at", ["0.0.0.0", "127.0.0.1", "::", "::1", "localhost"])
async def test_a_worker_is_asked_where_it_listens(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], listens_at: str
) -> None:
    """If a worker is ready, or waits for something, then the command says so in its words and by its exit status."""
    health = Health()
    async with serve_http(listens_at, 0, health, CollectorRegistry()) as port:
        monkeypatch.setenv("SENDAS_HTTP_HOST", listens_at)
        monkeypatch.setenv("SENDAS_HTTP_PORT", str(port))
        assert await asyncio.to_thread(status, ["ready"]) == 0
        health.require("ledger", lambda: "no answer for 7 s")
        assert await asyncio.to_thread(status, ["ready"]) == 1
    assert capsys.readouterr().out == "ok\nledger: no answer for 7 s\n"


async def test_no_worker_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """If no worker answers there, then the command says where it asked."""
    async with serve_http("127.0.0.1", 0, Health(), CollectorRegistry()) as port:
        pass
    monkeypatch.setenv("SENDAS_HTTP_PORT", str(port))
    assert status(["ready"]) == 1
    assert capsys.readouterr().err.startswith(f"sendas: no worker answers at 127.0.0.1:{port}: ")


def test_any_free_port_cannot_be_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """If the worker takes any free port, then the command says that it cannot know it."""
    monkeypatch.setenv("SENDAS_HTTP_PORT", "0")
    assert status(["ready"]) == 2
    assert "SENDAS_HTTP_PORT" in capsys.readouterr().err

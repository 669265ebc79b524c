"""One port for `/livez`, `/readyz` and `/metrics`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from worker.errors import ConfigurationError
from worker.telemetry.health import Health


@asynccontextmanager
async def serve_http(host: str, port: int, health: Health, registry: CollectorRegistry) -> AsyncIterator[int]:
    """Serve while the context lasts; gives the port, which the system chooses when it is 0.

    Raises:
        ConfigurationError: the port cannot be had.
    """
    runner = web.AppRunner(_application(health, registry), access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigurationError(f"SENDAS_HTTP_PORT: cannot listen on {host}:{port}: {error.strerror}") from None
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _application(health: Health, registry: CollectorRegistry) -> web.Application:
    async def livez(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        problems = health.problems()
        lines = [f"{name}: {problem}" for name, problem in problems.items()] or ["ok"]
        return web.Response(text="\n".join(lines) + "\n", status=503 if problems else 200)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application()
    application.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return application

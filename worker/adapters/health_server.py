"""One port for `/livez`, `/readyz` and `/metrics`; many clients can neither block it nor slow letters through it."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from worker.errors import ConfigurationError
from worker.telemetry.health import Health

# Below aiohttp's own level, which the worker logs: a client that does not speak HTTP must not fill that log.
_LOGGER = logging.getLogger("aiohttp.server.health")
_LOGGER.addFilter(
    lambda record: not (record.exc_info and record.exc_info[0] and issubclass(record.exc_info[0], HttpProcessingError))
)


@dataclass(frozen=True, slots=True)
class HttpBounds:
    """Limits per client. A connection carries one request and lasts at most `connection_s` seconds, whatever is still
    unsent or unread. Above `connections` the oldest is closed: probes are answered in milliseconds, so the oldest is
    stalled. Metrics are rendered at most once in `metrics_s` seconds, for all clients.
    """

    connections: int = 100
    connection_s: float = 10.0
    line_bytes: int = 4_096
    headers: int = 64
    metrics_s: float = 1.0


@asynccontextmanager
async def serve_http(
    host: str, port: int, health: Health, registry: CollectorRegistry, bounds: HttpBounds | None = None
) -> AsyncIterator[int]:
    """Serve while the context lasts; yields the port, which the system chooses when it is 0.

    Raises:
        ConfigurationError: the port is not available.
    """
    bounds = bounds or HttpBounds()
    limits = {"max_line_size": bounds.line_bytes, "max_field_size": bounds.line_bytes, "max_headers": bounds.headers}
    runner = web.AppRunner(_application(health, _Page(registry, bounds.metrics_s)), access_log=None, shutdown_timeout=1)
    await runner.setup()
    handlers = runner.server
    assert handlers is not None  # noqa: S101 - set once the runner is set up
    crowd = _Crowd(bounds)
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(
            lambda: _Connection(handlers, loop=loop, access_log=None, logger=_LOGGER, crowd=crowd, **limits), host, port
        )
    except OSError as error:
        await runner.cleanup()
        raise ConfigurationError(f"SENDAS_HTTP_PORT: cannot listen on {host}:{port}: {error.strerror}") from None
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await runner.cleanup()
        crowd.disperse()


class _Crowd:
    """All connections, oldest first, each with the timer that closes it."""

    def __init__(self, bounds: HttpBounds) -> None:
        self._bounds = bounds
        self._connections: OrderedDict[asyncio.Transport, asyncio.TimerHandle] = OrderedDict()

    def joined(self, transport: asyncio.Transport) -> None:
        """Add a connection; close the oldest if there are too many."""
        if len(self._connections) >= self._bounds.connections:
            oldest = next(iter(self._connections))
            self.left(oldest)
            oldest.abort()
        timer = asyncio.get_running_loop().call_later(self._bounds.connection_s, transport.abort)
        self._connections[transport] = timer

    def left(self, transport: asyncio.Transport) -> None:
        """Remove a closed connection."""
        timer = self._connections.pop(transport, None)
        if timer is not None:
            timer.cancel()

    def disperse(self) -> None:
        """Close all remaining connections."""
        for transport in list(self._connections):
            self.left(transport)
            transport.abort()


class _Connection(web.RequestHandler):
    """A tracked connection. aiohttp itself has no time limit for a request that is half sent."""

    __slots__ = ("_crowd", "_joined")

    def __init__(self, *arguments: Any, crowd: _Crowd, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._crowd = crowd
        self._joined: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._joined = cast(asyncio.Transport, transport)  # uvloop's has the methods, but not the base class
        self._crowd.joined(self._joined)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._joined is not None:
            self._crowd.left(self._joined)
        super().connection_lost(exc)


class _Page:
    """The metrics page, rendered again on request if older than `max_age_s`."""

    def __init__(
        self, registry: CollectorRegistry, max_age_s: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._registry = registry
        self._max_age_s = max_age_s
        self._monotonic = monotonic
        self._text = b""
        self._stale_s = float("-inf")

    def text(self) -> bytes:
        now_s = self._monotonic()
        if now_s >= self._stale_s:
            self._text = generate_latest(self._registry)
            self._stale_s = now_s + self._max_age_s
        return self._text


def _application(health: Health, page: _Page) -> web.Application:
    async def livez(_request: web.Request) -> web.Response:
        return _last(web.Response(text="ok\n"))

    async def readyz(_request: web.Request) -> web.Response:
        problems = health.problems()
        lines = [f"{name}: {problem}" for name, problem in problems.items()] or ["ok"]
        return _last(web.Response(text="\n".join(lines) + "\n", status=503 if problems else 200))

    async def metrics(_request: web.Request) -> web.Response:
        return _last(web.Response(body=page.text(), headers={"Content-Type": CONTENT_TYPE_LATEST}))

    application = web.Application()
    application.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return application


def _last(response: web.Response) -> web.Response:
    """Mark a response as the connection's only one."""
    response.force_close()
    return response

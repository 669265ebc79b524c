"""The console's process: listens, serves pages, and shuts down gracefully."""

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import structlog
import uvicorn
from prometheus_client import CollectorRegistry

from worker import __version__
from worker.adapters.health_server import serve_http
from worker.console.wiring import open_console
from worker.console_settings import ConsoleSettings
from worker.errors import ConfigurationError
from worker.settings import Settings
from worker.telemetry.health import Health
from worker.telemetry.metrics import add_process_metrics

log = structlog.get_logger(__name__)

_BACKLOG = 128

_CONNECTIONS = 200
_HEADER_BYTES = 32 * 1024
_IDLE_S = 15
_END_S = 10


async def serve(settings: Settings, own: ConsoleSettings) -> None:
    """Serve until SIGTERM or SIGINT, then stop actions in progress gracefully and publish their audit events.

    Raises:
        ConfigurationError: a setting is wrong, or the port is not available.
    """
    registry, health = CollectorRegistry(), Health()
    add_process_metrics(registry)
    is_up = asyncio.Event()
    health.require("console", lambda: None if is_up.is_set() else "starting")
    with closing(_listening(own.host, own.port)) as listener:
        port = int(listener.getsockname()[1])
        async with (
            serve_http(settings.http_host, settings.http_port, health, registry) as health_port,
            open_console(settings, own, registry, port) as app,
        ):
            is_up.set()
            log.info("console.started", version=__version__, port=port, http_port=health_port)
            server = _server(app)
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, server.handle_exit, number, None)
            await server.serve([listener])
            health.drain()
    log.info("console.stopped")


class _Server(uvicorn.Server):
    """A server that leaves signals to the process: uvicorn's own handling would exit before actions have stopped."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(app: object) -> _Server:
    return _Server(
        uvicorn.Config(
            app,  # type: ignore[arg-type]  # an ASGI application
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            # `auth.proxies` determines the client's address.
            proxy_headers=False,
            server_header=False,
            date_header=True,
            limit_concurrency=_CONNECTIONS,
            h11_max_incomplete_event_size=_HEADER_BYTES,
            timeout_keep_alive=_IDLE_S,
            timeout_graceful_shutdown=_END_S,
        )
    )


def _listening(host: str, port: int) -> socket.socket:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.setblocking(False)
        listener.listen(_BACKLOG)  # from here on a connection waits, also while the server still starts
    except OSError as error:
        raise ConfigurationError(f"SENDAS_CONSOLE_PORT: cannot listen on {host}:{port}: {error.strerror}") from None
    return listener

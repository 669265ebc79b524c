"""Tracing, if enabled; otherwise OpenTelemetry is not even imported."""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from worker.delivery.instrumentation import NO_TRACING, Tracer
from worker.errors import ConfigurationError

_FAREWELL_S = 3.0


@asynccontextmanager
async def tracing(is_on: bool, version: str, tls: Callable[[], ssl.SSLContext]) -> AsyncIterator[Tracer]:
    """Yield a tracer; with tracing on, spans are exported over OTLP/HTTP in the background.

    `tls` makes the context for a collector over HTTPS. Spans that cannot be exported are dropped: neither a letter nor
    the shutdown waits for them.

    Raises:
        ConfigurationError: tracing is on but its libraries are not installed.
    """
    if not is_on:
        yield NO_TRACING
        return
    try:
        from worker.telemetry import spans
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"SENDAS_TRACING: {error.name} is missing: install sendas[tracing]") from None
    provider = spans.exporting_provider(version, tls())
    try:
        yield spans.SpanTracer(provider)
    finally:
        await _briefly(provider.shutdown)


async def _briefly(farewell: Callable[[], None]) -> None:
    """Give the last spans a moment. A thread joined at exit could delay the shutdown by half a minute."""
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def run() -> None:
        farewell()
        if not loop.is_closed():
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, name="tracing-farewell", daemon=True).start()
    try:
        async with asyncio.timeout(_FAREWELL_S):
            await done.wait()
    except TimeoutError:
        pass  # the collector does not answer, and nothing else needs its spans

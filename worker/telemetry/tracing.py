"""Tracing, if the operator wants it; otherwise nothing of OpenTelemetry is even imported."""

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
    """A tracer while the context lasts; with tracing on, spans are exported over OTLP/HTTP in the background.

    `tls` makes the context for a collector over HTTPS. Spans that cannot be exported are dropped: no letter and no end
    of a worker waits for them.

    Raises:
        ConfigurationError: tracing is on and its libraries are not installed.
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
    """Give the last spans a moment. A thread that would be joined at exit could keep the worker for half a minute."""
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
        pass  # the collector does not answer, and its spans are of no use to anybody else

"""A collector of OpenTelemetry's protocol over HTTP, as an operator would run one."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.acceptance.command import PATIENCE_S


class Collector:
    """Keeps what is exported to it."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.endpoint = ""
        self._news = asyncio.Condition()

    async def take(self, request: web.Request) -> web.Response:
        """One export."""
        exported = ExportTraceServiceRequest.FromString(await request.read())
        async with self._news:
            self.requests.append(exported)
            self._news.notify_all()
        return web.Response(content_type="application/x-protobuf")

    @property
    def spans(self) -> list[Span]:
        """All spans so far."""
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def services(self) -> set[str]:
        """Who exported them."""
        resources = [resource for request in self.requests for resource in request.resource_spans]
        return {
            attribute.value.string_value
            for resource in resources
            for attribute in resource.resource.attributes
            if attribute.key == "service.name"
        }

    async def until(self, is_enough: Callable[[list[Span]], bool]) -> list[Span]:
        """Wait until there are enough spans; gives them all."""
        async with asyncio.timeout(PATIENCE_S), self._news:
            await self._news.wait_for(lambda: is_enough(self.spans))
        return self.spans


@asynccontextmanager
async def collecting(tls: ssl.SSLContext | None = None) -> AsyncIterator[Collector]:
    """A collector on a free port while the context lasts; over HTTPS with `tls`."""
    collector = Collector()
    application = web.Application()
    application.add_routes([web.post("/v1/traces", collector.take)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    collector.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield collector
    finally:
        await runner.cleanup()

"""Web servers on loopback with certificates of a test authority, and sessions that reach them through the guard."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache

import trustme
from aiohttp import web

from stack import client_context
from tests.doubles.resolver import TableResolver
from worker.adapters.network.egress import EgressGuard
from worker.adapters.network.http import GuardedSession, guarded_client_session
from worker.domain.egress import EgressPolicy, parse_allowlist

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

NAMES = ("web.example", "other.example")


@cache
def _authority() -> trustme.CA:
    return trustme.CA(organization_name="Test")


@cache
def trusting_context() -> ssl.SSLContext:
    """A client context that trusts the test authority."""
    context = client_context()
    _authority().configure_trust(context)
    return context


@cache
def server_context(*names: str) -> ssl.SSLContext:
    """A server context with a certificate for the names."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _authority().issue_cert(*names).configure_cert(context)
    return context


@asynccontextmanager
async def web_server(
    handlers: Mapping[str, Handler],
    *,
    tls: ssl.SSLContext | None = None,
    is_plain: bool = False,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[int]:
    """A server with a handler for each path, GET and POST alike; gives its port."""
    application = web.Application()
    for path, handler in handlers.items():
        application.router.add_route("*", path, handler)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        context = None if is_plain else tls or server_context(*NAMES)
        await web.TCPSite(runner, host, port, ssl_context=context).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def session(
    resolver: TableResolver | None = None,
    allow: str = "127.0.0.1",
    *,
    allow_http: bool = False,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[GuardedSession]:
    """A session for which the test names are 127.0.0.1 unless a resolver says otherwise."""
    if resolver is None:
        resolver = TableResolver()
        for name in NAMES:
            resolver.set(name, ["127.0.0.1"])
    guard = EgressGuard(EgressPolicy(parse_allowlist(allow)), resolver)
    guarded = guarded_client_session(guard, tls or trusting_context(), allow_http=allow_http)
    try:
        yield guarded
    finally:
        await guarded.close()


def answering(
    body: bytes = b"",
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    seen: list[web.Request] | None = None,
) -> Handler:
    """A handler that always answers the same, and notes the requests it saw."""

    async def answer(request: web.Request) -> web.Response:
        if seen is not None:
            seen.append(request)
        return web.Response(body=body, status=status, headers=headers)

    return answer

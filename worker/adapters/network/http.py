"""HTTP through the egress guard: for token endpoints, files and the snapshot.

This module follows redirects itself, because each hop is vetted like the first, a hop from https to http is refused,
and a bearer token goes only to its intended origin. Error texts name the host only: paths and queries of file links are
often secrets themselves, and aiohttp's own errors carry the request's headers.
"""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

import aiohttp
from yarl import URL

from worker.adapters.network.egress import EgressGuard, RefusedLookup, VettingResolver, vetting_socket_factory
from worker.domain.egress import HTTP_PORTS, HTTPS_PORTS
from worker.domain.hosts import parse_host
from worker.domain.transmission import FailureKind
from worker.errors import EgressDenied, SendasError, Unavailable

_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK_BYTES = 64 * 1024


class TooLarge(SendasError):
    """A body exceeds its reader's size limit."""


class GuardedSession:
    """An HTTP client that connects to vetted addresses only, keeps no cookies and reads no proxy settings."""

    def __init__(self, client: aiohttp.ClientSession, guard: EgressGuard, *, allow_http: bool) -> None:
        self._client = client
        self._guard = guard
        self._allow_http = allow_http

    def get(
        self, url: str, *, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """The response to a GET, after at most five redirects; read its body inside the context, within the time.

        `Authorization` is dropped permanently at the first redirect to another origin.

        Raises:
            EgressDenied: a URL, host, port or redirect is not allowed.
            Unavailable: no connection, no TLS, no answer in time, or a truncated answer.
        """
        return self._exchange("GET", url, timeout_s, dict(headers or {}), None, _MAX_REDIRECTS)

    def post_form(
        self, url: str, form: Mapping[str, str], *, timeout_s: float
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """The response to a form; redirects are returned, not followed, because the form may hold secrets.

        Raises:
            EgressDenied, Unavailable: as for `get`.
        """
        return self._exchange("POST", url, timeout_s, {"Accept": "application/json"}, dict(form), 0)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    @asynccontextmanager
    async def _exchange(
        self,
        method: str,
        text: str,
        timeout_s: float,
        headers: dict[str, str],
        form: Mapping[str, str] | None,
        redirects: int,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url = self._checked(_parse_url(text))
        with _told_plainly(url):
            async with asyncio.timeout(timeout_s):
                response = await self._request(method, url, headers, form)
                try:
                    while redirects and response.status in _REDIRECTS and "Location" in response.headers:
                        redirects -= 1
                        response.close()
                        url, headers = self._next_hop(url, response.headers["Location"], headers)
                        response = await self._request(method, url, headers, form)
                    yield response
                finally:
                    response.close()  # not release, which would drain an endless body

    async def _request(
        self, method: str, url: URL, headers: dict[str, str], form: Mapping[str, str] | None
    ) -> aiohttp.ClientResponse:
        return await self._client.request(method, url, headers=headers, data=form, allow_redirects=False)

    def _next_hop(self, url: URL, location: str, headers: dict[str, str]) -> tuple[URL, dict[str, str]]:
        try:
            target = url.join(URL(location))
        except ValueError:
            raise EgressDenied(f"{url.host} redirects to something that is no URL") from None
        if url.scheme == "https" and target.scheme != "https":
            raise EgressDenied(f"{url.host} redirects from https to {target.scheme}, which is not allowed")
        self._checked(target)
        if target.origin() != url.origin():
            headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        return target, headers

    def _checked(self, url: URL) -> URL:
        """The URL, if everything that can be checked before a look-up is allowed. Sockets are checked again."""
        if url.scheme not in (("https", "http") if self._allow_http else ("https",)):
            raise EgressDenied("the URL is not https" + (" or http" if self._allow_http else ""))
        if url.user is not None or url.password is not None:
            raise EgressDenied("the URL has a user name or password in it")
        try:
            host = parse_host(url.raw_host or "")
        except ValueError as error:
            raise EgressDenied(str(error)) from None
        if not isinstance(host, str):
            refusal = self._guard.policy.refusal(host, url.port or 0, _usual_ports(self._allow_http))
            if refusal is not None:
                raise EgressDenied(f"connecting to {host} is not allowed: {refusal}")
        return url


def guarded_client_session(
    guard: EgressGuard,
    tls: ssl.SSLContext,
    *,
    allow_http: bool = False,
    max_connections: int = 100,
    max_connections_per_host: int = 20,
) -> GuardedSession:
    """A session for hosts chosen by customers; requires a running event loop.

    http:// URLs and port 80 only with `allow_http`. The cap per host keeps one slow host from taking all connections.
    """
    connector = guarded_connector(
        guard, tls, _usual_ports(allow_http), limit=max_connections, limit_per_host=max_connections_per_host
    )
    client = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None),  # GuardedSession bounds the whole exchange, redirects included
        headers={"User-Agent": "sendas"},
        trust_env=False,  # a proxy would do the look-up, which must be ours
    )
    return GuardedSession(client, guard, allow_http=allow_http)


def guarded_connector(
    guard: EgressGuard, tls: ssl.SSLContext, ports: frozenset[int], *, limit: int = 100, limit_per_host: int = 0
) -> aiohttp.TCPConnector:
    """Opens connections to vetted addresses only; requires a running event loop."""
    return aiohttp.TCPConnector(
        resolver=VettingResolver(guard, ports),
        socket_factory=vetting_socket_factory(guard, ports),
        use_dns_cache=False,
        ssl=tls,
        limit=limit,
        limit_per_host=limit_per_host,
    )


async def read_at_most(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """The body, decompressed.

    Raises:
        TooLarge: it exceeds `max_bytes`, by its own header or in fact; the rest is not read.
    """
    if response.content_length is not None and response.content_length > max_bytes:
        raise TooLarge(f"more than {max_bytes} bytes")
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) > max_bytes:
            raise TooLarge(f"more than {max_bytes} bytes")
    return bytes(body)


def _usual_ports(allow_http: bool) -> frozenset[int]:
    return HTTPS_PORTS | HTTP_PORTS if allow_http else HTTPS_PORTS


def _parse_url(text: str) -> URL:
    try:
        url = URL(text)
    except ValueError:
        raise EgressDenied("the URL is not valid") from None
    if not url.absolute:
        raise EgressDenied("the URL has no host")
    return url


@contextmanager
def _told_plainly(url: URL) -> Iterator[None]:
    """Converts aiohttp's errors to ours, without their texts and without a chain that exposes request headers."""
    try:
        yield
    except aiohttp.ClientConnectorDNSError as error:
        raise _lookup_error(url, error) from None
    except TimeoutError:
        raise Unavailable(f"{url.host} did not answer in time") from None
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable(f"{url.host}: {_reason(error)}") from None


def _lookup_error(url: URL, error: aiohttp.ClientConnectorDNSError) -> EgressDenied | Unavailable:
    refused = error.os_error
    if isinstance(refused, RefusedLookup):
        kind = EgressDenied if refused.denial.fault is FailureKind.EGRESS else Unavailable
        return kind(str(refused.denial))
    return Unavailable(f"{url.host} cannot be looked up")


def _reason(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError(certificate_error=ssl.SSLCertVerificationError() as cause):
            return f"its certificate is not accepted: {cause.verify_message}"
        case aiohttp.ClientSSLError():
            return "TLS failed"
        case aiohttp.ClientConnectorError(os_error=OSError(errno=int() as number)):
            return f"cannot connect: {os.strerror(number).lower()}"
        case aiohttp.ClientPayloadError():
            return "the answer broke off"
        case aiohttp.ServerDisconnectedError():
            return "it closed the connection"
        case aiohttp.ClientResponseError():
            return "its answer is not HTTP"
        case _:
            return "the exchange failed"

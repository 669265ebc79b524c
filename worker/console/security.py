"""Protections that apply to every request and response, whatever the page."""

import asyncio
import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY_BYTES = 1_000_000
_BODY_S = 30.0
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_STRICT_TRANSPORT = "max-age=31536000"


class Shield:
    """Refuses requests for other hosts, from other sites and with large bodies; sets the security headers.

    A request for another host name means that some page's name was pointed at this address (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, origin: str) -> None:
        parts = urlsplit(origin)
        self._app = app
        self._hosts = {parts.hostname or "", *(_LOOPBACK if parts.hostname in _LOOPBACK else ())}
        self._is_tls = parts.scheme == "https"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._protect(MutableHeaders(scope=message), scope["path"])
            await send(message)

        headers = Headers(scope=scope)
        refusal = self._refusal(scope["method"], headers)
        if refusal is not None:
            await PlainTextResponse(refusal[1], refusal[0])(scope, receive, protected)
            return
        await self._app(scope, _bounded(receive), protected)

    def _protect(self, headers: MutableHeaders, path: str) -> None:
        for name, value in _HEADERS.items():
            headers[name] = value
        if self._is_tls:
            headers["strict-transport-security"] = _STRICT_TRANSPORT
        headers["cache-control"] = "max-age=3600" if path.startswith("/static/") else "no-store"

    def _refusal(self, method: str, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if urlsplit(f"//{host}").hostname not in self._hosts:
            return 421, "This host name is not the console's: see SENDAS_CONSOLE_URL.\n"
        if method in ("GET", "HEAD"):
            return None
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return 403, "The request comes from another site.\n"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403, "The request comes from another site.\n"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > MOST_BODY_BYTES:
            return 413, "The request is too large.\n"
        return None


def _bounded(receive: Receive) -> Receive:
    """Bounds a body in size and time; a client that stalls ends only its own request."""
    received = 0

    async def bounded() -> Message:
        nonlocal received
        if received < 0:  # the body is complete: from here on, wait only for the client to disconnect
            return await receive()
        try:
            async with asyncio.timeout(_BODY_S):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, "The request took too long.") from None
        if message["type"] == "http.request":
            received += len(message.get("body", b""))
            if received > MOST_BODY_BYTES:
                raise HTTPException(413, "The request is too large.")
            if not message.get("more_body", False):
                received = -1
        return message

    return bounded


def is_token(given: object, wanted: str) -> bool:
    """Whether a form's token is the session's, compared in constant time."""
    return isinstance(given, str) and secrets.compare_digest(given.encode(), wanted.encode())


def own_path(text: str | None) -> str:
    """A redirect target within the console, or else its first page: never another site (RFC 9700, section 4.11)."""
    if not text or not text.startswith("/") or text.startswith("//") or len(text) > 2_000:
        return "/"
    if "\\" in text or any(ord(character) < 0x21 or ord(character) == 0x7F for character in text):
        return "/"
    parts = urlsplit(text)
    return "/" if parts.scheme or parts.netloc or parts.path.startswith("/sign-") else text

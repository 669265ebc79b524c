"""The console as a web application: its pages and its error responses."""

import time
from collections.abc import Sequence
from pathlib import Path

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.console.languages import language_of
from worker.console.metrics import ConsoleMetrics
from worker.console.pages import (
    dead_letter_jobs,
    dead_letters,
    explain,
    letters,
    mailboxes,
    overview,
    preferences,
    snapshot,
)
from worker.console.security import Shield
from worker.console.services import Services
from worker.console.times import zone_of
from worker.console.visits import SignInNeeded, page_of, sign_in_address
from worker.errors import SendasError, Unavailable

log = structlog.get_logger(__name__)

_STATIC = Path(__file__).parent / "static"
TITLES = {
    400: "That cannot be done",
    403: "Not allowed",
    404: "Not found",
    405: "Not found",
    408: "Too slow",
    413: "Too large",
    500: "Something went wrong here",
    503: "Not available now",
}


def create_app(services: Services, door: Sequence[BaseRoute], origin: str) -> Starlette:
    """Build the application. `door` provides the sign-in routes; `origin` is the console's public origin."""
    app = Starlette(
        routes=[
            *overview.ROUTES,
            *letters.ROUTES,
            *dead_letters.ROUTES,
            *dead_letter_jobs.ROUTES,
            *mailboxes.ROUTES,
            *explain.ROUTES,
            *snapshot.ROUTES,
            *preferences.ROUTES,
            *door,
            Mount("/static", StaticFiles(directory=_STATIC)),
            Route("/favicon.ico", _no_icon),
        ],
        middleware=[Middleware(_Counting, metrics=services.metrics), Middleware(Shield, origin=origin)],
        exception_handlers={
            SignInNeeded: _to_sign_in,
            Unavailable: _unavailable,
            SendasError: _refused,
            HTTPException: _failed,
            Exception: _broken,
        },
    )
    app.state.services = services
    return app


class _Counting:
    """Counts responses and measures their latency."""

    def __init__(self, app: ASGIApp, metrics: ConsoleMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s, status = time.monotonic(), 500

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            self._metrics.answered(status, time.monotonic() - began_s)


async def _to_sign_in(_: Request, error: Exception) -> Response:
    assert isinstance(error, SignInNeeded)  # noqa: S101 - registered for this type
    return RedirectResponse(sign_in_address(error.next), 303)


async def _unavailable(request: Request, error: Exception) -> Response:
    return _page(request, 503, str(error))


async def _refused(request: Request, error: Exception) -> Response:
    return _page(request, 400, str(error))


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type
    return _page(request, error.status_code, error.detail if error.status_code != 404 else "")


async def _broken(request: Request, error: Exception) -> Response:
    log.error("console.unhandled", path=request.url.path, error=type(error).__name__, exc_info=error)
    return _page(request, 500, "")


def _page(request: Request, status: int, detail: str) -> Response:
    """An error page, safe for anyone: it shows nothing but the error."""
    context = {"person": None, "csrf": "", "title": TITLES.get(status, "That cannot be done"), "detail": detail}
    return page_of(request, "error.html", status, language_of(request), zone_of(request), context)


async def _no_icon(_: Request) -> Response:
    return Response(status_code=204)

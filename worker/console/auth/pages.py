"""Sign-in and sign-out pages. A sign-in in progress keeps its state in a signed cookie of its own."""

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from worker.console.auth.oidc import OpenIdConnect, SignInRefused
from worker.console.auth.passwords import Passwords, TooManyFailures
from worker.console.auth.people import People
from worker.console.auth.proxies import Proxies
from worker.console.auth.signing_in import SessionSignIn
from worker.console.languages import language_of
from worker.console.security import is_token, own_path
from worker.console.services import services_of
from worker.console.times import zone_of
from worker.console.visits import CSRF_FIELD, Visit, page_of, signed_form

_COOKIE_S = 600
_MOST_FIELDS = 10
_MOST_NAME_CHARS = 200
_UNFINISHED = "csrf"
_NEXT = "next"


@dataclass(frozen=True, slots=True)
class Door:
    """A sign-in method: either `passwords` or `provider` is set; `origin` is the console's public origin."""

    people: People
    sign_in: SessionSignIn
    proxies: Proxies
    origin: str
    passwords: Passwords | None = None
    provider: OpenIdConnect | None = None

    def routes(self) -> Sequence[BaseRoute]:
        """The routes of these pages."""
        middleware = Middleware(
            SessionMiddleware,
            secret_key=secrets.token_urlsafe(32),
            session_cookie="sendas_sign_in",
            max_age=_COOKIE_S,
            path="/sign-in",
            same_site="lax",
            https_only=self.origin.startswith("https:"),
        )
        inside = [Route("/", self._form, methods=["GET"])]
        if self.passwords is not None:
            inside.append(Route("/password", self._password, methods=["POST"]))
        if self.provider is not None:
            inside.append(Route("/provider", self._to_provider, methods=["GET"]))
            inside.append(Route("/callback", self._callback, methods=["GET"]))
        return [
            Route("/sign-in", _to_form, methods=["GET"]),
            Mount("/sign-in", routes=inside, middleware=[middleware]),
            Route("/sign-out", signed_form(self._sign_out), methods=["POST"]),
        ]

    async def _form(self, request: Request) -> Response:
        request.session[_NEXT] = own_path(request.query_params.get(_NEXT))
        return self._page(request)

    def _page(self, request: Request, problem: str | None = None, status: int = 200, **values: Any) -> Response:
        token = request.session.setdefault(_UNFINISHED, secrets.token_urlsafe(32))
        context = {
            "csrf": token,
            "person": None,
            "has_provider": self.provider is not None,
            "problem": problem,
            "values": values,
        }
        return page_of(request, "sign_in.html", status, language_of(request), zone_of(request), context)

    async def _password(self, request: Request) -> Response:
        assert self.passwords is not None  # noqa: S101 - the route exists only with passwords
        form = await request.form(max_files=0, max_fields=_MOST_FIELDS)
        token = request.session.get(_UNFINISHED)
        if not isinstance(token, str) or not is_token(form.get(CSRF_FIELD), token):
            services_of(request).metrics.refused("csrf")
            return self._page(request, "The form was too old: please try again.", 403)
        name, password = str(form.get("name") or "").strip()[:_MOST_NAME_CHARS], str(form.get("password") or "")
        address, record = self.proxies.client(request), services_of(request).record
        try:
            are_right = await self.passwords.are_right(name, password, address)
        except TooManyFailures as error:
            record.signed_in(self._known(name), "throttled", address)
            minutes = math.ceil(error.wait_s / 60)
            response = self._page(
                request, "Too many sign-ins failed: try again in {minutes} min.", 429, minutes=minutes
            )
            response.headers["retry-after"] = str(math.ceil(error.wait_s))
            return response
        if not are_right:
            record.signed_in(self._known(name), "wrong", address)
            return self._page(request, "Name or password is wrong.", 401)
        return self._let_in(request, name, ())

    def _known(self, name: str) -> str:
        """The name to log; empty if not in the people file, as it may be a password typed into the wrong field."""
        return name if self.people.find(name) is not None else ""

    async def _to_provider(self, request: Request) -> Response:
        assert self.provider is not None  # noqa: S101 - the route exists only with a provider
        try:
            return await self.provider.begin(request, f"{self.origin}/sign-in/callback")
        except SignInRefused as error:
            return self._refused(request, error)

    async def _callback(self, request: Request) -> Response:
        assert self.provider is not None  # noqa: S101 - the route exists only with a provider
        try:
            name, groups = await self.provider.finish(request)
        except SignInRefused as error:
            return self._refused(request, error)
        return self._let_in(request, name, groups)

    def _refused(self, request: Request, error: SignInRefused) -> Response:
        services_of(request).record.signed_in("", "refused", self.proxies.client(request))
        return self._page(request, "The sign-in did not succeed: {why}.", 403, why=str(error))

    def _let_in(self, request: Request, name: str, groups: tuple[str, ...]) -> Response:
        record, address = services_of(request).record, self.proxies.client(request)
        if self.people.find(name, groups) is None:
            record.signed_in(name, "no_rights", address)
            return self._page(request, "You are signed in, but have no access here: ask an operator.", 403)
        record.signed_in(name, "good", address)
        next_ = own_path(request.session.get(_NEXT))
        request.session.clear()
        response = RedirectResponse(next_, 303)
        self.sign_in.begin(request, response, name, groups)
        return response

    async def _sign_out(self, visit: Visit) -> Response:
        response = RedirectResponse("/sign-in/", 303)
        self.sign_in.end(visit.request, response)
        visit.services.record.signed_in(visit.person.name, "ended", self.proxies.client(visit.request))
        return response


async def _to_form(request: Request) -> Response:
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"/sign-in/{query}", 303)

"""One request of one person: identity, rights, and rendering for them."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from worker.console.auth.people import Person
from worker.console.languages import Language, language_of
from worker.console.rendering import rendered
from worker.console.security import is_token
from worker.console.services import Services, services_of
from worker.console.times import Zone, zone_of

CSRF_FIELD = "csrf"
_MOST_FIELDS = 2_000


class SignInNeeded(Exception):
    """The request has no session; `next` is where to go after sign-in."""

    def __init__(self, next_: str) -> None:
        super().__init__("sign in first")
        self.next = next_


@dataclass(frozen=True, slots=True)
class Visit:
    """A signed-in person's request. `form` holds the submitted fields."""

    request: Request
    services: Services
    person: Person
    csrf: str
    language: Language
    zone: Zone
    form: FormData = field(default_factory=FormData)

    def query(self, name: str, most: int = 500) -> str | None:
        """A query parameter, None if empty; cut to a bound before anything searches it."""
        return (self.request.query_params.get(name) or "").strip()[:most] or None

    def field(self, name: str, most: int = 500) -> str | None:
        """A form field's text, None if empty."""
        value = self.form.get(name)
        return value.strip()[:most] or None if isinstance(value, str) else None

    def render(self, template: str, status: int = 200, **context: Any) -> Response:
        """Render a page for this person."""
        common: dict[str, Any] = {
            "person": self.person,
            "csrf": self.csrf,
            "can_sign_out": self.services.sign_in.can_end,
        }
        return page_of(self.request, template, status, self.language, self.zone, {**common, **context})

    def see_other(self, path: str) -> Response:
        """Redirect to another page after a form (RFC 9110, section 15.4.4)."""
        return RedirectResponse(path, 303)

    def require_account(self, account_id: str | None) -> None:
        """Raise 404 for an account that the person may not see, as if it did not exist."""
        if not self.person.may_see(account_id):
            raise HTTPException(404)


def page_of(
    request: Request, template: str, status: int, language: Language, zone: Zone, context: Mapping[str, Any]
) -> Response:
    """A page that needs no sign-in."""
    address = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    values = {"path": request.url.path, "address": address, **context}
    return HTMLResponse(rendered(template, language, zone, values), status)


Handler = Callable[[Visit], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


def page(handler: Handler) -> Endpoint:
    """A page for any signed-in person."""

    async def endpoint(request: Request) -> Response:
        return await handler(_visit(request))

    return endpoint


def signed_form(handler: Handler) -> Endpoint:
    """A form that changes only what its person sees; its token proves that it comes from one of our pages."""

    async def endpoint(request: Request) -> Response:
        visit = _visit(request)  # first: read nothing from strangers
        visit = replace(visit, form=await request.form(max_files=0, max_fields=_MOST_FIELDS))
        if not is_token(visit.form.get(CSRF_FIELD), visit.csrf):
            visit.services.metrics.refused("csrf")
            raise HTTPException(403, "The form is not one of this session: load the page again.")
        return await handler(visit)

    return endpoint


def act(handler: Handler) -> Endpoint:
    """A form that changes something; for operators only."""

    async def for_operators(visit: Visit) -> Response:
        if not visit.person.is_operator:
            visit.services.metrics.refused("role")
            raise HTTPException(403, "Only operators can do this.")
        return await handler(visit)

    return signed_form(for_operators)


def _visit(request: Request) -> Visit:
    services = services_of(request)
    signed_in = services.sign_in.who(request)
    if signed_in is None:
        address = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        raise SignInNeeded(address if request.method == "GET" else "/")
    person, csrf = signed_in
    return Visit(request, services, person, csrf, language_of(request), zone_of(request))


def sign_in_address(next_: str) -> str:
    """The sign-in page, which leads to `next_`."""
    return f"/sign-in/?next={quote(next_, safe='')}" if next_ != "/" else "/sign-in/"


def set_preference(request: Request, response: Response, name: str, value: str) -> None:
    """Store a preference in the browser for a year; the page's script reads the zone's so as to set it only once."""
    response.set_cookie(name, value, 365 * 86_400, path="/", secure=services_of(request).is_tls, samesite="lax")

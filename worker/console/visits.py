"""One request of one person: who they are, what they may do, and how pages are rendered for them."""

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
    """The request has no session; `next`: where to go afterwards."""

    def __init__(self, next_: str) -> None:
        super().__init__("sign in first")
        self.next = next_


@dataclass(frozen=True, slots=True)
class Visit:
    """A request of a person who is signed in. `form`: of an act, with the fields that were sent."""

    request: Request
    services: Services
    person: Person
    csrf: str
    language: Language
    zone: Zone
    form: FormData = field(default_factory=FormData)

    def query(self, name: str, most: int = 500) -> str | None:
        """A value of the address, None where it is empty; cut to a bound before anything searches it."""
        return (self.request.query_params.get(name) or "").strip()[:most] or None

    def field(self, name: str, most: int = 500) -> str | None:
        """A text of the form, None where it is empty."""
        value = self.form.get(name)
        return value.strip()[:most] or None if isinstance(value, str) else None

    def render(self, template: str, status: int = 200, **context: Any) -> Response:
        """A page of theirs."""
        common: dict[str, Any] = {
            "person": self.person,
            "csrf": self.csrf,
            "can_sign_out": self.services.sign_in.can_end,
        }
        return page_of(self.request, template, status, self.language, self.zone, {**common, **context})

    def see_other(self, path: str) -> Response:
        """Go on at another page, after an act (RFC 9110, section 15.4.4)."""
        return RedirectResponse(path, 303)

    def require_account(self, account_id: str | None) -> None:
        """Raises 404 for an account that is not theirs to see: it is as if it were not there."""
        if not self.person.may_see(account_id):
            raise HTTPException(404)


def page_of(
    request: Request, template: str, status: int, language: Language, zone: Zone, context: Mapping[str, Any]
) -> Response:
    """A page, for anybody."""
    address = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    values = {"path": request.url.path, "address": address, **context}
    return HTMLResponse(rendered(template, language, zone, values), status)


Handler = Callable[[Visit], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


def page(handler: Handler) -> Endpoint:
    """A page for everybody who is signed in."""

    async def endpoint(request: Request) -> Response:
        return await handler(_visit(request))

    return endpoint


def signed_form(handler: Handler) -> Endpoint:
    """A form that changes nothing but what its person sees; its token shows that it is a page of ours."""

    async def endpoint(request: Request) -> Response:
        visit = _visit(request)  # first: of a stranger nothing is read
        visit = replace(visit, form=await request.form(max_files=0, max_fields=_MOST_FIELDS))
        if not is_token(visit.form.get(CSRF_FIELD), visit.csrf):
            visit.services.metrics.refused("csrf")
            raise HTTPException(403, "The form is not one of this session: load the page again.")
        return await handler(visit)

    return endpoint


def act(handler: Handler) -> Endpoint:
    """A form that does something: for operators alone."""

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
    """The page to sign in on, which leads to `next_`."""
    return f"/sign-in/?next={quote(next_, safe='')}" if next_ != "/" else "/sign-in/"


def set_preference(request: Request, response: Response, name: str, value: str) -> None:
    """Remember a choice in the browser for a year; the page's script reads the zone's to set it once."""
    response.set_cookie(name, value, 365 * 86_400, path="/", secure=services_of(request).is_tls, samesite="lax")

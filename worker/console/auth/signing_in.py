"""Identifies the sender of a request: by session, or by the headers of a trusted proxy."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from worker.console.auth.people import People, Person
from worker.console.auth.proxies import ProxySignIn
from worker.console.auth.sessions import Sessions


class SessionSignIn:
    """Sessions, created after a password or an identity provider's confirmation; `is_tls` makes cookies `Secure`."""

    can_end = True

    def __init__(self, people: People, sessions: Sessions, *, is_tls: bool) -> None:
        self._people = people
        self._sessions = sessions
        self._is_tls = is_tls
        # Browsers accept this cookie prefix only from the host itself, over TLS, for all paths.
        self._cookie = "__Host-sendas_session" if is_tls else "sendas_session"

    def who(self, request: Request) -> tuple[Person, str] | None:
        session = self._sessions.find(request.cookies.get(self._cookie))
        if session is None:
            return None
        person = self._people.find(session.name, session.groups)
        return None if person is None else (person, session.csrf)

    def begin(self, request: Request, response: Response, name: str, groups: tuple[str, ...]) -> None:
        """Start a new session; the browser's previous one ends."""
        self._sessions.end(request.cookies.get(self._cookie))
        response.set_cookie(
            self._cookie,
            self._sessions.begin(name, groups),
            max_age=int(self._sessions.longest_s),
            path="/",
            secure=self._is_tls,
            httponly=True,
            samesite="lax",
        )

    def end(self, request: Request, response: Response) -> None:
        """End the browser's session."""
        self._sessions.end(request.cookies.get(self._cookie))
        response.delete_cookie(self._cookie, path="/", secure=self._is_tls, httponly=True, samesite="lax")


class HeaderSignIn:
    """A trusted proxy's headers. There is no session, so CSRF tokens are per name and process."""

    can_end = False

    def __init__(self, people: People, proxy: ProxySignIn, token_of: Callable[[str], str]) -> None:
        self._people = people
        self._proxy = proxy
        self._token_of = token_of

    def who(self, request: Request) -> tuple[Person, str] | None:
        named = self._proxy.named(request)
        person = None if named is None else self._people.find(*named)
        return None if person is None else (person, self._token_of(person.name))

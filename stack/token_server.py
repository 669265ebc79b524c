"""An OAuth 2 token server for mailboxes: grants, rotates and revokes tokens, and introspects them for Dovecot."""

import ssl
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Self

from aiohttp import web

from stack.authority import Certificate


@dataclass(eq=False)
class TokenServer:
    """The server; an async context manager.

    `/token` (RFC 6749) is on `port`, with TLS; `/introspect` (RFC 7662) on `introspection_port`, without. With
    `rotates`, each refresh returns a new refresh token and voids the old one. Every token begins with `prefix`.
    `answers` are returned first, unchanged. With `is_access_refused`, the mail server accepts no access token.
    """

    certificate: Certificate
    introspection_port: int
    prefix: str = ""
    rotates: bool = False
    lifetime_s: int = 3_600
    is_access_refused: bool = False
    refresh_tokens: dict[str, str] = field(default_factory=dict)
    clients: dict[tuple[str, str], str] = field(default_factory=dict)
    answers: list[web.Response] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        self._numbers = count(1)
        self._active: dict[str, str] = {}
        self._runners: list[web.AppRunner] = []

    @property
    def url(self) -> str:
        """The token endpoint's URL."""
        return f"https://localhost:{self.port}/token"

    def grant(self, username: str) -> str:
        """Issue a refresh token for a user, as after consent."""
        token = f"{self.prefix}rt-{next(self._numbers)}"
        self.refresh_tokens[token] = username
        return token

    def revoke(self, username: str) -> None:
        """Revoke all tokens of a user."""
        for tokens in (self.refresh_tokens, self._active):
            for token in [token for token, owner in tokens.items() if owner == username]:
                del tokens[token]

    async def __aenter__(self) -> Self:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate.chain, self.certificate.key)
        self.port = await self._serve("/token", self._token, 0, context)
        await self._serve("/introspect", self._introspect, self.introspection_port, None)
        return self

    async def __aexit__(self, *_: object) -> None:
        for runner in self._runners:
            await runner.cleanup()

    async def _serve(self, path: str, handler: Any, port: int, context: ssl.SSLContext | None) -> int:
        application = web.Application()
        application.router.add_post(path, handler)
        runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
        return int(runner.addresses[0][1])

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.forms.append(form)
        if self.answers:
            return self.answers.pop(0)
        username = self._user(form)
        if username is None:
            # Some servers echo the request.
            refusal = {"error": "invalid_grant", "error_description": form.get("refresh_token", "")}
            return web.json_response(refusal, status=400)
        token = f"{self.prefix}at-{next(self._numbers)}"
        self._active[token] = username
        granted = {"access_token": token, "token_type": "Bearer", "expires_in": self.lifetime_s}
        if self.rotates and "refresh_token" in form:
            del self.refresh_tokens[form["refresh_token"]]
            granted["refresh_token"] = self.grant(username)
        return web.json_response(granted)

    def _user(self, form: dict[str, str]) -> str | None:
        if form.get("grant_type") == "refresh_token":
            return self.refresh_tokens.get(form.get("refresh_token", ""))
        if form.get("grant_type") == "client_credentials":
            return self.clients.get((form.get("client_id", ""), form.get("client_secret", "")))
        return None

    async def _introspect(self, request: web.Request) -> web.Response:
        username = self._active.get(str((await request.post()).get("token", "")))
        is_active = username is not None and not self.is_access_refused
        return web.json_response({"active": is_active, "username": username})

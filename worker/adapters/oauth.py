"""OAuth 2 access tokens for mailboxes, kept until shortly before they expire.

A *grant* here is what renews a mailbox's token: a refresh token or client credentials. Many servers hand out a new
refresh token with each renewal and void the former one (RFC 6749 section 6). The snapshot then lags behind, or
catches up with a token from some renewals ago; so a grant answers to every refresh token it ever had, and goes on
with its newest.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from pydantic import SecretStr
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt
from yarl import URL

from worker.adapters.http_session import GuardedSession, TooLarge, read_at_most
from worker.adapters.secrets import SecretStore
from worker.adapters.token_response import MAX_RESPONSE_BYTES, TokenResponse, parse_token_response
from worker.delivery.ports import Clock
from worker.domain.snapshot import OAuthAuth
from worker.errors import EgressDenied, SendasError, TokenRefused, Unavailable

Rotated = Callable[[str, str, SecretStr], None]
"""Told account id, user name and the new refresh token; must not raise."""

_ATTEMPTS = 3
_MAX_WAIT_S = 2.0
_RENEW_BEFORE_S = 300.0
_PAUSE_S = 30.0
_MAX_KEYS = 200_000


class _GrantKey(NamedTuple):
    """Whose grant: never less than all of this, so that two accounts with the same mailbox never share a token."""

    account_id: str
    username: str
    token_endpoint: str
    client_id: str
    scope: str | None
    secret_digest: bytes


@dataclass(slots=True, eq=False)
class _Grant:
    """The memory of one grant; times are monotonic seconds.

    From `renew_at` a renewal is begun while the token is still handed out; from `wait_at` callers wait for it.
    """

    refresh_token: SecretStr | None
    access_token: SecretStr | None = None
    renew_at: float = 0.0
    wait_at: float = 0.0
    expires_at: float = 0.0
    has_failed: bool = False
    renewal: asyncio.Task[None] | None = field(default=None, repr=False)


class TokenSource:
    """Access tokens by account and sign-in; one renewal at a time per grant, however many ask for it.

    Args:
        random: returns a number from 0 to 1; spreads renewals, so that tokens issued together do not expire together.
        sleep: waits between attempts.
        refreshed: told what came of each renewal: `renewed`, `refused` or `unavailable`.
    """

    def __init__(
        self,
        session: GuardedSession,
        secrets: SecretStore,
        clock: Clock,
        rotated: Rotated,
        *,
        random: Callable[[], float],
        timeout_s: float = 15.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        refreshed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._session = session
        self._secrets = secrets
        self._clock = clock
        self._rotated = rotated
        self._random = random
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._refreshed = refreshed
        self._grants: OrderedDict[_GrantKey, _Grant] = OrderedDict()  # least recently used first

    async def token(self, account_id: str, auth: OAuthAuth) -> SecretStr:
        """A token that is good now and for the length of a sign-in.

        It is renewed some minutes before its end, without making anybody wait, so that an endpoint that is down for
        a while is not noticed.

        Raises:
            SecretUnavailable: a secret of the sign-in cannot be opened.
            TokenRefused: the endpoint refuses the grant, or policy refuses the endpoint.
            Unavailable: the endpoint does not answer, and the token in memory has expired.
        """
        key, grant = await self._grant(account_id, auth)
        now = self._clock.monotonic()
        if grant.access_token is None or now >= grant.wait_at:
            await self._renewed(key, grant, auth)
        elif now >= grant.renew_at:
            self._renewal(key, grant, auth)
        if grant.access_token is None:  # forgotten again, between the renewal and now
            raise Unavailable("the new access token was refused at once")
        return grant.access_token

    async def forget(self, account_id: str, auth: OAuthAuth, refused: SecretStr) -> None:
        """Drop an access token that a mail server refused, unless a newer one has replaced it already.

        Raises:
            SecretUnavailable: as for `token`.
        """
        _, grant = await self._grant(account_id, auth)
        if grant.access_token == refused:
            grant.access_token = None

    def expiries_s(self) -> dict[str, float]:
        """Seconds to the end of the token that ends first, among those whose last renewal is `ok` or `failing`.

        A token that is over is not among them: while nothing is sent nobody renews it, and if it is wanted, the mail
        that waits for it tells.
        """
        now = self._clock.monotonic()
        nearest: dict[str, float] = {}
        for grant in self._grants.values():
            if grant.access_token is not None and grant.expires_at > now:
                renewal = "failing" if grant.has_failed else "ok"
                nearest[renewal] = min(grant.expires_at - now, nearest.get(renewal, float("inf")))
        return nearest

    async def close(self) -> None:
        """Stop renewals that are under way."""
        renewals = {grant.renewal for grant in self._grants.values() if grant.renewal is not None}
        for renewal in renewals:
            renewal.cancel()
        if renewals:
            await asyncio.wait(renewals)

    async def _grant(self, account_id: str, auth: OAuthAuth) -> tuple[_GrantKey, _Grant]:
        refresh_token = await self._secrets.open(auth.refresh_token) if auth.refresh_token else None
        secret = refresh_token or (
            await self._secrets.open(auth.client_secret) if auth.client_secret else SecretStr("")
        )
        key = _GrantKey(account_id, auth.username, auth.token_endpoint, auth.client_id, auth.scope, _digest(secret))
        grant = self._grants.setdefault(key, _Grant(refresh_token))
        self._touch(key, grant)
        return key, grant

    def _touch(self, key: _GrantKey, grant: _Grant) -> None:
        self._grants[key] = grant
        self._grants.move_to_end(key)
        if len(self._grants) > _MAX_KEYS:
            self._grants.popitem(last=False)

    async def _renewed(self, key: _GrantKey, grant: _Grant, auth: OAuthAuth) -> None:
        renewal = self._renewal(key, grant, auth)
        await asyncio.wait({renewal})  # unlike awaiting it: a caller who is cancelled does not cancel the others' token
        if renewal.cancelled():
            raise Unavailable("the worker is closing")
        try:
            renewal.result()
        except Unavailable:
            if grant.access_token is None or self._clock.monotonic() >= grant.expires_at:
                raise

    def _renewal(self, key: _GrantKey, grant: _Grant, auth: OAuthAuth) -> asyncio.Task[None]:
        """The renewal that is under way, begun if there is none."""
        if grant.renewal is None:
            grant.renewal = asyncio.create_task(self._renew(key, grant, auth), name="token-renewal")
            grant.renewal.add_done_callback(lambda done: _finish(grant, done))
        return grant.renewal

    async def _renew(self, key: _GrantKey, grant: _Grant, auth: OAuthAuth) -> None:
        asked_at = self._clock.monotonic()  # before the request: the token's life may begin when it arrives there
        try:
            response = await self._ask_patiently(auth.token_endpoint, await self._form(grant, auth))
        except SendasError as error:
            self._refreshed("refused" if isinstance(error, TokenRefused) else "unavailable")
            grant.has_failed = True
            grant.renew_at = self._clock.monotonic() + _PAUSE_S  # while the old token lasts, not at every sign-in
            raise
        self._refreshed("renewed")
        grant.has_failed = False
        margin_s = min(_RENEW_BEFORE_S, response.lifetime_s / 4)
        grant.access_token = response.access_token
        grant.expires_at = asked_at + response.lifetime_s
        grant.renew_at = grant.expires_at - margin_s * (1 + self._random())
        grant.wait_at = grant.expires_at - margin_s / 5
        if response.refresh_token is not None and response.refresh_token != grant.refresh_token:
            grant.refresh_token = response.refresh_token
            self._touch(key._replace(secret_digest=_digest(response.refresh_token)), grant)
            self._rotated(key.account_id, key.username, response.refresh_token)

    async def _form(self, grant: _Grant, auth: OAuthAuth) -> dict[str, str]:
        form = {"client_id": auth.client_id}
        if grant.refresh_token is None:
            form["grant_type"] = "client_credentials"
        else:
            form |= {"grant_type": "refresh_token", "refresh_token": grant.refresh_token.get_secret_value()}
        if auth.client_secret is not None:
            form["client_secret"] = (await self._secrets.open(auth.client_secret)).get_secret_value()
        if auth.scope is not None:
            form["scope"] = auth.scope
        return form

    async def _ask_patiently(self, endpoint: str, form: dict[str, str]) -> TokenResponse:
        retrying = AsyncRetrying(
            stop=stop_after_attempt(_ATTEMPTS),
            wait=lambda attempt: min(_MAX_WAIT_S, 0.25 * 2**attempt.attempt_number) * self._random(),
            retry=retry_if_exception_type(Unavailable),
            sleep=self._sleep,
            reraise=True,
        )
        return await retrying(self._ask, endpoint, form)

    async def _ask(self, endpoint: str, form: dict[str, str]) -> TokenResponse:
        try:
            async with self._session.post_form(endpoint, form, timeout_s=self._timeout_s) as response:
                body = await read_at_most(response, MAX_RESPONSE_BYTES)
        except EgressDenied as error:
            raise TokenRefused(f"the token endpoint may not be used: {error}") from None
        except TooLarge:
            raise Unavailable("the token endpoint's answer is far too long") from None
        return parse_token_response(response.status, body, URL(endpoint).host or "")


def _digest(secret: SecretStr) -> bytes:
    return sha256(secret.get_secret_value().encode()).digest()


def _finish(grant: _Grant, renewal: asyncio.Task[None]) -> None:
    grant.renewal = None
    if not renewal.cancelled():
        renewal.exception()  # seen: the callers may all have gone by now

"""OAuth 2 access tokens for mailboxes, kept until shortly before they expire.

A *grant* here renews a mailbox's token: a refresh token or client credentials. Many servers issue a new refresh token
with each renewal and revoke the old one (RFC 6749 section 6). The snapshot then lags behind, or catches up with a token
from some renewals ago; so a grant is found by every refresh token it ever had, and continues with the newest, whichever
worker received it (`token_rotation`).
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from pydantic import SecretStr
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt
from yarl import URL

from worker.adapters.auth.secrets import SecretStore
from worker.adapters.auth.token_response import MAX_RESPONSE_BYTES, TokenResponse, parse_token_response
from worker.adapters.auth.token_rotation import Owner, RotationKeeper, digest
from worker.adapters.network.http import GuardedSession, TooLarge, read_at_most
from worker.delivery.ports import Clock
from worker.delivery.token_rotation import Rotation
from worker.domain.snapshot.model import OAuthAuth
from worker.errors import EgressDenied, SecretUnavailable, SendasError, TokenRefused, Unavailable

_ISSUED = 3
_ATTEMPTS = 3
_MAX_WAIT_S = 2.0
_RENEW_BEFORE_S = 300.0
_PAUSE_S = 30.0
_FRESH_S = 60.0
_MAX_KEYS = 200_000


class GrantKey(NamedTuple):
    """Identifies a grant by all of these fields, so that two accounts with the same mailbox never share a token."""

    account_id: str
    username: str
    token_endpoint: str
    client_id: str
    scope: str | None
    secret_digest: bytes

    @property
    def owner(self) -> Owner:
        """The grant's owner, independent of its current token."""
        parts = (self.account_id, self.username, self.token_endpoint, self.client_id, self.scope or "")
        # The length before each part keeps ("ab", "c") and ("a", "bc") apart.
        text = "".join(f"{len(part)}:{part}" for part in parts)
        return Owner(sha256(text.encode("utf-8", "surrogatepass")).digest(), self.account_id, self.username)


@dataclass(slots=True, eq=False)
class Grant:
    """State of one grant; times are monotonic seconds.

    `issued` are the latest access tokens, including the current one, that mail servers may have seen.
    From `renew_at` a renewal starts while the token is still handed out; from `wait_at` callers wait for it.
    """

    refresh_token: SecretStr | None
    access_token: SecretStr | None = None
    issued: deque[SecretStr] = field(default_factory=lambda: deque(maxlen=_ISSUED))
    issued_at: float = 0.0
    renew_at: float = 0.0
    wait_at: float = 0.0
    expires_at: float = 0.0
    has_failed: bool = False
    renewal: asyncio.Task[None] | None = field(default=None, repr=False)


def grant_key(account_id: str, auth: OAuthAuth, secret: SecretStr) -> GrantKey:
    """The key of a sign-in whose refresh token, or else client secret, is `secret`."""
    return GrantKey(account_id, auth.username, auth.token_endpoint, auth.client_id, auth.scope, digest(secret))


class TokenSource:
    """Access tokens by account and sign-in; concurrent callers share one renewal per grant.

    Args:
        random: returns a number from 0 to 1; spreads renewals, so that tokens issued together do not expire together.
        sleep: waits between attempts.
        refreshed: called with the result of each renewal: `renewed`, `refused` or `unavailable`.
    """

    def __init__(
        self,
        session: GuardedSession,
        secrets: SecretStore,
        clock: Clock,
        keeper: RotationKeeper,
        *,
        random: Callable[[], float],
        timeout_s: float = 15.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        refreshed: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._session = session
        self._secrets = secrets
        self._clock = clock
        self._keeper = keeper
        self._random = random
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._refreshed = refreshed
        self._grants: OrderedDict[GrantKey, Grant] = OrderedDict()  # least recently used first

    async def token(self, account_id: str, auth: OAuthAuth) -> SecretStr:
        """A token valid now and for the duration of a sign-in.

        Renewal starts some minutes before expiry, in the background, so that a short outage of the endpoint delays no
        caller.

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
        if grant.access_token is None:  # forgotten again since the renewal
            raise Unavailable("the new access token was refused at once")
        return grant.access_token

    async def known(self, account_id: str, auth: OAuthAuth) -> list[SecretStr]:
        """The latest access tokens this process used: mail servers may know them. Raises `SecretUnavailable`."""
        _, grant = await self._grant(account_id, auth)
        return list(grant.issued)

    async def forget(self, account_id: str, auth: OAuthAuth, refused: SecretStr) -> bool:
        """Drop an access token that a mail server refused, unless a newer one has already replaced it.

        True when another token is worth trying: the refused one was not issued just now.

        Raises:
            SecretUnavailable: as for `token`.
        """
        _, grant = await self._grant(account_id, auth)
        if grant.access_token != refused:
            return grant.access_token is not None
        grant.access_token = None
        return self._clock.monotonic() - grant.issued_at >= _FRESH_S

    async def is_of(self, rotation: Rotation, account_id: str, auth: OAuthAuth) -> bool:
        """Whether the rotation replaced this sign-in's refresh token."""
        if auth.refresh_token is None:
            return False
        try:
            token = await self._secrets.open(auth.refresh_token, account_id)
        except SecretUnavailable:
            return False
        key = grant_key(account_id, auth, token)
        return key.owner.grant == rotation.grant and key.secret_digest in rotation.known

    def expiries_s(self) -> dict[str, float]:
        """Seconds until the first token expires, among those whose last renewal is `ok` or `failing`.

        Excludes expired tokens: an idle mailbox's token is not renewed, and if one is needed, waiting mail shows the
        failure.
        """
        now = self._clock.monotonic()
        nearest: dict[str, float] = {}
        for grant in self._grants.values():
            if grant.access_token is not None and grant.expires_at > now:
                renewal = "failing" if grant.has_failed else "ok"
                nearest[renewal] = min(grant.expires_at - now, nearest.get(renewal, float("inf")))
        return nearest

    async def close(self) -> None:
        """Let running renewals finish, for at most one request's time: each may return a new token."""
        renewals = {grant.renewal for grant in self._grants.values() if grant.renewal is not None}
        if not renewals:
            return
        _, unfinished = await asyncio.wait(renewals, timeout=self._timeout_s)
        for renewal in unfinished:
            renewal.cancel()
        await asyncio.wait(renewals)

    async def _grant(self, account_id: str, auth: OAuthAuth) -> tuple[GrantKey, Grant]:
        refresh_token = await self._secrets.open(auth.refresh_token, account_id) if auth.refresh_token else None
        secret = refresh_token or (
            await self._secrets.open(auth.client_secret, account_id) if auth.client_secret else SecretStr("")
        )
        key = grant_key(account_id, auth, secret)
        grant = self._grants.setdefault(key, Grant(refresh_token))
        self._touch(key, grant)
        return key, grant

    def _touch(self, key: GrantKey, grant: Grant) -> None:
        self._grants[key] = grant
        self._grants.move_to_end(key)
        if len(self._grants) > _MAX_KEYS:
            self._grants.popitem(last=False)

    async def _renewed(self, key: GrantKey, grant: Grant, auth: OAuthAuth) -> None:
        renewal = self._renewal(key, grant, auth)
        await asyncio.wait({renewal})  # unlike awaiting it: cancelling one caller does not cancel the others' renewal
        if renewal.cancelled():
            raise Unavailable("the worker is closing")
        try:
            renewal.result()
        except Unavailable:
            if grant.access_token is None or self._clock.monotonic() >= grant.expires_at:
                raise

    def _renewal(self, key: GrantKey, grant: Grant, auth: OAuthAuth) -> asyncio.Task[None]:
        """The running renewal, started if there is none."""
        if grant.renewal is None:
            grant.renewal = asyncio.create_task(self._renew(key, grant, auth), name="token-renewal")
            grant.renewal.add_done_callback(lambda done: _finish(grant, done))
        return grant.renewal

    async def _renew(self, key: GrantKey, grant: Grant, auth: OAuthAuth) -> None:
        try:
            if grant.refresh_token is None:
                await self._ask_for_token(key, grant, auth)
            else:
                async with self._keeper.turn(key.owner):
                    await self._renew_in_turn(key, grant, auth)
        except SendasError as error:
            self._refreshed("refused" if isinstance(error, TokenRefused) else "unavailable")
            grant.has_failed = True
            grant.renew_at = self._clock.monotonic() + _PAUSE_S  # while the old token lasts, not at every sign-in
            raise
        self._refreshed("renewed")
        grant.has_failed = False

    async def _renew_in_turn(self, key: GrantKey, grant: Grant, auth: OAuthAuth) -> None:
        await self._catch_up(key, grant)
        try:
            await self._ask_for_token(key, grant, auth)
        except TokenRefused:
            # A worker that stalled for longer than its turn may have just received a newer one.
            if not await self._catch_up(key, grant):
                raise
            await self._ask_for_token(key, grant, auth)

    async def _catch_up(self, key: GrantKey, grant: Grant) -> bool:
        """Switch to the token that another worker, or this one before a restart, received."""
        if grant.refresh_token is None:
            return False
        newer = await self._keeper.newer(key.owner, grant.refresh_token)
        if newer is None:
            return False
        grant.refresh_token = newer
        self._touch(key._replace(secret_digest=digest(newer)), grant)
        return True

    async def _ask_for_token(self, key: GrantKey, grant: Grant, auth: OAuthAuth) -> None:
        asked_at = self._clock.monotonic()  # before the request: the token's lifetime may start on its arrival
        response = await self._ask_patiently(auth.token_endpoint, await self._form(key.account_id, grant, auth))
        spent, new = grant.refresh_token, response.refresh_token
        if spent is not None and new is not None and new != spent:
            grant.refresh_token = new
            self._touch(key._replace(secret_digest=digest(new)), grant)
            await self._keeper.keep(key.owner, key.secret_digest, spent, new)
        margin_s = min(_RENEW_BEFORE_S, response.lifetime_s / 4)
        grant.access_token, grant.issued_at = response.access_token, asked_at
        grant.issued.append(response.access_token)
        grant.expires_at = asked_at + response.lifetime_s
        grant.renew_at = grant.expires_at - margin_s * (1 + self._random())
        grant.wait_at = grant.expires_at - margin_s / 5

    async def _form(self, account_id: str, grant: Grant, auth: OAuthAuth) -> dict[str, str]:
        form = {"client_id": auth.client_id}
        if grant.refresh_token is None:
            form["grant_type"] = "client_credentials"
        else:
            form |= {"grant_type": "refresh_token", "refresh_token": grant.refresh_token.get_secret_value()}
        if auth.client_secret is not None:
            form["client_secret"] = (await self._secrets.open(auth.client_secret, account_id)).get_secret_value()
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


def _finish(grant: Grant, renewal: asyncio.Task[None]) -> None:
    grant.renewal = None
    if not renewal.cancelled():
        renewal.exception()  # seen: the callers may all have gone by now

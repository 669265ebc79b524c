"""OpenID Connect sign-in through authlib: the code flow with PKCE (RFC 7636)."""

import ssl
from collections.abc import Mapping
from typing import Any

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.starlette_client import OAuth
from joserfc.errors import JoseError
from starlette.requests import Request
from starlette.responses import Response

from worker.errors import SendasError

_TIMEOUT_S = 10.0
_MOST_GROUPS = 100
_MOST_CHARS = 200


class SignInRefused(SendasError):
    """The provider's answer does not permit sign-in; the text says why, without secrets from the answer."""


class OpenIdConnect:
    """An identity provider. `claims` names the claims that hold the person's name and groups."""

    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: str | None,
        *,
        scopes: str,
        claims: tuple[str, str],
        tls: ssl.SSLContext | bool = True,
    ) -> None:
        self._name_claim, self._groups_claim = claims
        self._client_id = client_id
        self._client = OAuth().register(
            "provider",
            client_id=client_id,
            client_secret=client_secret,
            server_metadata_url=f"{issuer.rstrip('/')}/.well-known/openid-configuration",
            client_kwargs={
                "scope": scopes,
                "code_challenge_method": "S256",
                "token_endpoint_auth_method": "client_secret_basic" if client_secret else "none",
                "timeout": _TIMEOUT_S,
                "verify": tls,
                "follow_redirects": False,
            },
        )
        self._issuer = issuer

    async def begin(self, request: Request, callback: str) -> Response:
        """Redirect the person to the provider; state, nonce and verifier are kept in the sign-in cookie.

        Raises:
            SignInRefused: the provider does not answer.
        """
        try:
            response: Response = await self._client.authorize_redirect(request, callback)
        except (httpx2.HTTPError, OAuthError, ValueError, KeyError) as error:
            raise SignInRefused(f"the identity provider does not answer: {type(error).__name__}") from None
        return response

    async def finish(self, request: Request) -> tuple[str, tuple[str, ...]]:
        """The person's name and groups, from an ID token with valid signature, issuer, audience, time and nonce.

        Raises:
            SignInRefused: the token is invalid, or the sign-in did not begin in this browser.
        """
        try:
            token = await self._client.authorize_access_token(request)
        except OAuthError as error:
            raise SignInRefused(f"the identity provider refuses: {str(error.error)[:_MOST_CHARS]}") from None
        except (httpx2.HTTPError, JoseError, ValueError, KeyError, RuntimeError) as error:
            raise SignInRefused(f"the identity provider's answer is not valid: {type(error).__name__}") from None
        claims: Mapping[str, Any] = token.get("userinfo") or {}
        self._check(claims)
        return self._name(claims), self._groups(claims)

    def _check(self, claims: Mapping[str, Any]) -> None:
        """Checks that authlib leaves to its callers (OpenID Connect Core 1.0, section 3.1.3.7)."""
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if claims.get("iss") != self._issuer or self._client_id not in audiences:
            raise SignInRefused("the ID token is another issuer's, or for another client")
        if claims.get("azp", self._client_id) != self._client_id or (len(audiences) > 1 and "azp" not in claims):
            raise SignInRefused("the ID token was issued to another client")

    def _name(self, claims: Mapping[str, Any]) -> str:
        name = claims.get(self._name_claim)
        if not isinstance(name, str) or not name or len(name) > _MOST_CHARS:
            raise SignInRefused(f"the ID token has no claim {self._name_claim}")
        if self._name_claim == "email" and claims.get("email_verified") is False:
            raise SignInRefused("the identity provider has not verified the address")
        return name

    def _groups(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        groups = claims.get(self._groups_claim)
        listed = groups if isinstance(groups, list) else []
        return tuple(each for each in listed[:_MOST_GROUPS] if isinstance(each, str))

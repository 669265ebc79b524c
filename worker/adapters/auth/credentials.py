"""Signing in: what the SMTP and IMAP adapters need to know, opened only at the moment of use."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import SecretStr

from worker.adapters.auth.oauth import TokenSource
from worker.adapters.auth.secrets import SecretStore
from worker.domain.snapshot.model import Auth, NoAuth, OAuthAuth, PasswordAuth, SealedSecret, secrets_of
from worker.errors import SecretUnavailable


@dataclass(frozen=True, slots=True)
class Password:
    """User name and password, for PLAIN or LOGIN."""

    username: str
    password: SecretStr


@dataclass(frozen=True, slots=True)
class AccessToken:
    """User name and OAuth 2 access token, for XOAUTH2."""

    username: str
    token: SecretStr


class Credentials(Protocol):
    """Opens what a snapshot says about signing in."""

    async def open(self, account_id: str, auth: Auth) -> Password | AccessToken | None:
        """The credentials for one sign-in; None when the server wants none.

        Raises:
            SecretUnavailable: the secret cannot be opened.
            TokenRefused: the token endpoint says that the grant is no longer good.
            Unavailable: the token endpoint does not answer.
        """

    async def known(self, account_id: str, auth: Auth) -> Sequence[Password | AccessToken]:
        """What a mail server may know already from sign-ins of before: to be hidden in its very first words.

        Nobody is asked for anything, and nothing is raised: what cannot be opened was not used either.
        """

    async def forget(self, account_id: str, auth: Auth, refused: SecretStr) -> bool:
        """Do not hand out this access token again: a mail server refused it.

        True when it had been in memory for a while, so that a new one may be taken where the old one was not: somebody
        may have ended all of the mailbox's sessions. Other methods have nothing to forget.

        Raises:
            SecretUnavailable: as for `open`.
        """


class SecretCredentials:
    """Implements `Credentials`."""

    def __init__(self, secrets: SecretStore, tokens: TokenSource) -> None:
        self._secrets = secrets
        self._tokens = tokens

    async def open(self, account_id: str, auth: Auth) -> Password | AccessToken | None:
        """See `Credentials`."""
        match auth:
            case NoAuth():
                return None
            case PasswordAuth():
                return Password(auth.username, await self._secrets.open(auth.secret, account_id))
            case OAuthAuth():
                return AccessToken(auth.username, await self._tokens.token(account_id, auth))

    async def known(self, account_id: str, auth: Auth) -> Sequence[Password | AccessToken]:
        """See `Credentials`."""
        try:
            match auth:
                case NoAuth():
                    return ()
                case PasswordAuth():
                    return (Password(auth.username, await self._secrets.open(auth.secret, account_id)),)
                case OAuthAuth():
                    return [AccessToken(auth.username, each) for each in await self._tokens.known(account_id, auth)]
        except SecretUnavailable:
            return ()  # the sign-in will say so

    async def forget(self, account_id: str, auth: Auth, refused: SecretStr) -> bool:
        """See `Credentials`."""
        return isinstance(auth, OAuthAuth) and await self._tokens.forget(account_id, auth, refused)


class SealedOnlyCredentials:
    """`Credentials` for a mailbox that came in a message and not in the snapshot: only sealed secrets are opened.

    Variables and files belong to the operator. Whoever can have a check requested, a customer by way of the product's
    form for a new mailbox perhaps, would otherwise have any of them sent as a password to a host of their own.
    """

    def __init__(self, inner: Credentials) -> None:
        self._inner = inner

    async def open(self, account_id: str, auth: Auth) -> Password | AccessToken | None:
        """See `Credentials`."""
        if not _is_sealed(auth):
            raise SecretUnavailable("a mailbox that is not in the snapshot may only bring sealed secrets")
        return await self._inner.open(account_id, auth)

    async def known(self, account_id: str, auth: Auth) -> Sequence[Password | AccessToken]:
        """See `Credentials`."""
        return await self._inner.known(account_id, auth) if _is_sealed(auth) else ()

    async def forget(self, account_id: str, auth: Auth, refused: SecretStr) -> bool:
        """See `Credentials`."""
        return await self._inner.forget(account_id, auth, refused)


def _is_sealed(auth: Auth) -> bool:
    return all(isinstance(secret, SealedSecret) for secret in secrets_of(auth))

"""Credentials for the SMTP and IMAP adapters, opened only when used."""

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
    """Opens the credentials that a snapshot refers to."""

    async def open(self, account_id: str, auth: Auth) -> Password | AccessToken | None:
        """The credentials for one sign-in; None when the server wants none.

        Raises:
            SecretUnavailable: the secret cannot be opened.
            TokenRefused: the token endpoint says that the grant is no longer good.
            Unavailable: the token endpoint does not answer.
        """

    async def known(self, account_id: str, auth: Auth) -> Sequence[Password | AccessToken]:
        """Credentials that a mail server may know from earlier sign-ins, to redact from its very first words.

        Makes no requests and raises nothing: credentials that cannot be opened were not used either.
        """

    async def forget(self, account_id: str, auth: Auth, refused: SecretStr) -> bool:
        """Stop handing out this access token: a mail server refused it.

        True when the token was not issued just now, so that a new one may be accepted: the mailbox's sessions may have
        been revoked. Other methods have nothing to forget.

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
    """`Credentials` for a mailbox that arrives in a message instead of the snapshot: opens sealed secrets only.

    Variables and files belong to the operator. Anyone able to trigger a check, such as a customer filling in the
    product's form for a new mailbox, could otherwise have any of them sent as a password to a host of their own.
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

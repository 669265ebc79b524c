"""Credentials from the snapshot's secrets and from token endpoints."""

from pydantic import SecretStr

from worker.adapters.credentials import AccessToken, Credentials, Password
from worker.adapters.oauth import TokenSource
from worker.adapters.secrets import SecretStore
from worker.domain.snapshot import Auth, NoAuth, OAuthAuth, PasswordAuth, SealedSecret, secrets_of
from worker.errors import SecretUnavailable


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
                return Password(auth.username, await self._secrets.open(auth.secret))
            case OAuthAuth():
                return AccessToken(auth.username, await self._tokens.token(account_id, auth))

    async def forget(self, account_id: str, auth: Auth, refused: SecretStr) -> None:
        """Do not hand out this access token again: a mail server refused it. Nothing happens for other methods.

        Raises:
            SecretUnavailable: as for `open`.
        """
        if isinstance(auth, OAuthAuth):
            await self._tokens.forget(account_id, auth, refused)


class SealedOnlyCredentials:
    """`Credentials` for a mailbox that came in a message and not in the snapshot: only sealed secrets are opened.

    Variables and files belong to the operator. Whoever can have a check requested, a customer by way of the product's
    form for a new mailbox perhaps, would otherwise have any of them sent as a password to a host of their own.
    """

    def __init__(self, inner: Credentials) -> None:
        self._inner = inner

    async def open(self, account_id: str, auth: Auth) -> Password | AccessToken | None:
        """See `Credentials`."""
        if not all(isinstance(secret, SealedSecret) for secret in secrets_of(auth)):
            raise SecretUnavailable("a mailbox that is not in the snapshot may only bring sealed secrets")
        return await self._inner.open(account_id, auth)

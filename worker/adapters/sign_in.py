"""Credentials from the snapshot's secrets and from token endpoints."""

from pydantic import SecretStr

from worker.adapters.credentials import AccessToken, Password
from worker.adapters.oauth import TokenSource
from worker.adapters.secrets import SecretStore
from worker.domain.snapshot import Auth, NoAuth, OAuthAuth, PasswordAuth


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

    async def forget(self, account_id: str, auth: Auth, refused: SecretStr) -> bool:
        """See `Credentials`."""
        return isinstance(auth, OAuthAuth) and await self._tokens.forget(account_id, auth, refused)

"""What is remembered of a mailbox's OAuth 2 grant."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from pydantic import SecretStr

from worker.adapters.rotation import Owner, digest
from worker.domain.snapshot import OAuthAuth

_ISSUED = 3


class GrantKey(NamedTuple):
    """Whose grant: never less than all of this, so that two accounts with the same mailbox never share a token."""

    account_id: str
    username: str
    token_endpoint: str
    client_id: str
    scope: str | None
    secret_digest: bytes

    @property
    def owner(self) -> Owner:
        """Whose it is, whichever token it has by now."""
        parts = (self.account_id, self.username, self.token_endpoint, self.client_id, self.scope or "")
        # The length before each part keeps ("ab", "c") and ("a", "bc") apart.
        text = "".join(f"{len(part)}:{part}" for part in parts)
        return Owner(sha256(text.encode("utf-8", "surrogatepass")).digest(), self.account_id, self.username)


@dataclass(slots=True, eq=False)
class Grant:
    """The memory of one grant; times are monotonic seconds.

    `issued` are the last access tokens, the one in use among them: what mail servers may have seen.
    From `renew_at` a renewal is begun while the token is still handed out; from `wait_at` callers wait for it.
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

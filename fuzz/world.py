"""The fixed world around the targets: one account with its mailboxes, one moment, one secret that must not come out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from pydantic import SecretStr

from fuzz.target import CANARY
from worker.adapters.auth.credentials import AccessToken, Password
from worker.domain.snapshot.model import Account, Auth, NoAuth, OAuthAuth, Platform, Snapshot

NOW = datetime(2026, 11, 23, 10, 0, 30, tzinfo=UTC)
_SNAPSHOT = Path(__file__).with_name("snapshot.json")


@cache
def snapshot() -> Snapshot:
    """The configuration under which all events are read."""
    return Snapshot.model_validate_json(_SNAPSHOT.read_bytes())


class FixedDirectory:
    """The snapshot as the delivery looks into it."""

    version = 1842

    @property
    def platform(self) -> Platform:
        return snapshot().platform

    def account(self, account_id: str) -> Account | None:
        return next((account for account in snapshot().accounts if account.id == account_id), None)

    def is_left_out(self, account_id: str) -> bool:
        return account_id == "left-out"


class FixedClock:
    """It is always the same moment."""

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0


@dataclass(frozen=True, slots=True)
class FixedCredentials:
    """The canary as a password or a token, as the settings ask for it."""

    async def open(self, account_id: str, auth: Auth) -> Password | AccessToken | None:
        """The credentials."""
        if isinstance(auth, NoAuth):
            return None
        if isinstance(auth, OAuthAuth):
            return AccessToken(auth.username, SecretStr(CANARY))
        return Password(auth.username, SecretStr(CANARY))

    async def known(self, account_id: str, auth: Auth) -> Sequence[Password | AccessToken]:
        """The same: as if the server had had it before."""
        opened = await self.open(account_id, auth)
        return [] if opened is None else [opened]

    async def forget(self, account_id: str, auth: Auth, refused: SecretStr) -> bool:
        """Nothing is in memory."""
        return False

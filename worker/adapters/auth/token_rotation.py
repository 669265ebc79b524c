"""Shares rotated refresh tokens across workers and restarts: every renewal starts from the grant's newest token.

Guarantees: once the token endpoint's response has been read, the new refresh token is in this process's memory. It is
written to the shared memory, sealed and durably, before any caller gets the access token issued with it, however long
the write takes; and its event is published until a queue has taken it. A gap remains between the endpoint's decision
and that write: a process killed then loses the token, as any OAuth client would.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256

import structlog
from pydantic import SecretStr

from worker.adapters.auth.secrets import SealingKeys
from worker.adapters.ledger.refresh_tokens import DIGEST_BYTES
from worker.delivery.ports import Clock
from worker.delivery.token_rotation import RefreshTokens, Rotation
from worker.domain.addresses import masked
from worker.errors import SecretUnavailable, Unavailable

log = structlog.get_logger(__name__)

_MAX_KNOWN = 64
_LOOK_EVERY_S = 0.5
_RETRY_S = 2.0


@dataclass(frozen=True, slots=True)
class Owner:
    """A grant's owner: `grant` is a digest of everything but the token, so that two accounts never share one."""

    grant: bytes
    account_id: str
    username: str


class RotationKeeper:
    """Shares the newest refresh token of each grant, sealed.

    Args:
        holder: a unique name of this process.
        rotated: called after a new token is stored; must not raise.
        turn_s: how long one renewal may take, all attempts included.
    """

    def __init__(
        self,
        tokens: RefreshTokens,
        keys: SealingKeys,
        clock: Clock,
        *,
        holder: str,
        rotated: Callable[[], None],
        turn_s: float = 60.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._tokens = tokens
        self._keys = keys
        self._clock = clock
        self._holder = holder
        self._rotated = rotated
        self._turn_s = turn_s
        self._sleep = sleep

    @asynccontextmanager
    async def turn(self, owner: Owner) -> AsyncIterator[None]:
        """Renew exclusively: a strict server takes two uses of one token for theft, and revokes them all.

        Raises:
            Unavailable: the shared memory does not answer.
        """
        while not await self._tokens.take_turn(owner.grant, self._holder, self._turn_s):
            await self._sleep(_LOOK_EVERY_S)
        try:
            yield
        finally:
            with suppress(Unavailable):  # the turn expires by itself
                await asyncio.shield(self._tokens.end_turn(owner.grant, self._holder))

    async def newer(self, owner: Owner, token: SecretStr) -> SecretStr | None:
        """The token that replaced this one, in any worker; None when there is none. Raises `Unavailable`."""
        rotation = await self._tokens.newest(owner.grant)
        if rotation is None or digest(token) not in rotation.known:
            return None
        try:
            newest = self._keys.open(rotation.sealed, owner.account_id)
        except SecretUnavailable as error:
            log.error(
                "oauth.refresh_token_not_opened",
                account_id=owner.account_id,
                username=masked(owner.username),
                why=str(error),
                what_to_do="keep the key that it was sealed for in SENDAS_SEALING_KEYS_FILE",
            )
            return None
        return newest if newest != token else None

    async def keep(self, owner: Owner, configured: bytes, spent: SecretStr, new: SecretStr) -> None:
        """Store a token that the endpoint just issued; returns once it is durable, however long that takes.

        `configured` is the digest of the token that the snapshot names, `spent` the one that was used.
        """
        try:
            while not await self._kept(owner, configured, spent, new):
                await self._sleep(_RETRY_S)
        except asyncio.CancelledError:
            log.error(
                "oauth.refresh_token_lost",
                account_id=owner.account_id,
                username=masked(owner.username),
                why="the worker ended before the new refresh token could be kept",
                what_to_do="if the mailbox is suspended for auth_token_revoked, connect it anew",
            )
            raise

    async def _kept(self, owner: Owner, configured: bytes, spent: SecretStr, new: SecretStr) -> bool:
        sealed = self._keys.seal(new, owner.account_id)
        if sealed is None:
            log.error(
                "oauth.refresh_token_not_kept",
                account_id=owner.account_id,
                username=masked(owner.username),
                why="there is no key to seal it for: it is known to this process only, and lost when that ends",
                what_to_do="set SENDAS_SEALING_KEYS_FILE (sendas seal --generate-key), or connect the mailbox anew",
            )
            return True
        try:
            before = await self._tokens.newest(owner.grant)
            is_next = before is not None and digest(spent) in before.known
            known = (configured, *(before.known if before and is_next else ()), digest(spent), digest(new))
            rotation = Rotation(
                owner.grant, owner.account_id, owner.username, sealed, _bounded(known), self._clock.now()
            )
            await self._tokens.keep(rotation)
        except Unavailable as error:
            log.warning("oauth.refresh_token_waits", account_id=owner.account_id, error=str(error))
            return False
        log.info("oauth.refresh_token_rotated", account_id=owner.account_id, username=masked(owner.username))
        self._rotated()
        return True


def digest(token: SecretStr) -> bytes:
    """A token's digest, which identifies it where the token itself must not be stored."""
    return sha256(token.get_secret_value().encode("utf-8", "surrogatepass")).digest()[:DIGEST_BYTES]


def _bounded(known: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Without repeats; if there are too many, the snapshot's own token, which comes first, and the latest ones."""
    first, *rest = dict.fromkeys(known)
    return (first, *rest[-(_MAX_KNOWN - 1) :])

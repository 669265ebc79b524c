"""Publishes rotated refresh tokens to the product until each has been published.

Unpublished rotations are kept in the store that all workers share, so neither a crash, nor a broker outage, nor a
product that is not listening yet loses one. Two workers may publish the same rotation at the same time: both results
have the same id.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import structlog

from worker.delivery.messages import Publish
from worker.delivery.ports import Directory, SnapshotService
from worker.delivery.results import Reporter
from worker.domain.identity import result_id
from worker.domain.results.events import MailboxTokenRotatedEvent
from worker.domain.results.models import MailboxTokenRotated, SealedToken
from worker.domain.snapshot.model import Mailbox, OAuthAuth
from worker.domain.vocabulary import SignInUse
from worker.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Rotation:
    """The newest refresh token of a grant, sealed for the workers' own key.

    `grant`: a digest that identifies the grant, independent of the token. `known`: digests of the tokens it has
    replaced, including those a snapshot may still name.
    """

    grant: bytes
    account_id: str
    username: str
    sealed: str = field(repr=False)
    known: tuple[bytes, ...]
    rotated_at: datetime


class RefreshTokens(Protocol):
    """The token store that all workers of an installation share. Every method raises `Unavailable`."""

    async def take_turn(self, grant: bytes, holder: str, for_s: float) -> bool:
        """True when this holder may renew the grant now; it excludes all others for `for_s`, or until `end_turn`."""

    async def end_turn(self, grant: bytes, holder: str) -> None:
        """Let others renew the grant. Does nothing when this holder's turn has already ended."""

    async def newest(self, grant: bytes) -> Rotation | None:
        """The newest token of a grant; None when it was never rotated."""

    async def keep(self, rotation: Rotation) -> None:
        """Store a new token durably in place of the previous one, marked as unpublished."""

    async def untold(self, limit: int) -> Sequence[Rotation]:
        """Unpublished rotations, oldest first."""

    async def told(self, rotation: Rotation) -> None:
        """Mark the rotation as published; a newer one that has replaced it meanwhile stays unpublished."""


log = structlog.get_logger(__name__)

_AT_A_TIME = 100
_LOOK_EVERY_S = 60.0

IsOf = Callable[[Rotation, str, OAuthAuth], Awaitable[bool]]
"""True when the rotation replaced the refresh token of this account's sign-in."""


class TokenRotationNotifier:
    """Publishes one `mailbox.token_rotated` for each mailbox that signs in with the token."""

    def __init__(
        self, *, tokens: RefreshTokens, snapshot: SnapshotService, is_of: IsOf, reporter: Reporter, publish: Publish
    ) -> None:
        self._tokens = tokens
        self._snapshot = snapshot
        self._is_of = is_of
        self._reporter = reporter
        self._publish = publish

    async def run(self, rotated: asyncio.Event) -> None:
        """Publish now and whenever `rotated` is set, until cancelled."""
        while True:
            rotated.clear()
            try:
                await self.tell()
            except Unavailable as error:
                log.error("mailbox.token_rotated_unpublished", why=str(error), what_to_do=_WHAT_TO_DO)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await rotated.wait()

    async def tell(self) -> None:
        """Publish all unpublished rotations.

        Raises:
            Unavailable: the store does not answer, or no queue takes the results; they stay unpublished.
        """
        while rotations := await self._tokens.untold(_AT_A_TIME):
            for rotation in rotations:
                for event in await self._events(rotation):
                    await self._publish(self._reporter.publication(event, must_route=True))
                await self._tokens.told(rotation)

    async def _events(self, rotation: Rotation) -> list[MailboxTokenRotatedEvent]:
        uses = await self._uses(self._snapshot.directory, rotation)
        return [self._event(rotation, mailbox_id, used_for) for mailbox_id, used_for in uses.items()]

    async def _uses(self, directory: Directory, rotation: Rotation) -> dict[str | None, tuple[SignInUse, ...]]:
        """What the token is used for, by mailbox; SMTP of an unnamed mailbox when none uses it any more."""
        uses: dict[str | None, tuple[SignInUse, ...]] = {}
        account = directory.account(rotation.account_id)
        for mailbox in account.mailboxes if account else ():
            if used_for := await self._used_for(rotation, mailbox):
                uses[mailbox.id] = used_for
        return uses or {None: (SignInUse.SMTP,)}

    async def _used_for(self, rotation: Rotation, mailbox: Mailbox) -> tuple[SignInUse, ...]:
        imap = mailbox.sent_copy.imap
        signs_in = ((SignInUse.SMTP, mailbox.smtp.auth), (SignInUse.IMAP, imap.auth if imap else None))
        return tuple(
            [
                use
                for use, auth in signs_in
                if isinstance(auth, OAuthAuth) and await self._is_of(rotation, rotation.account_id, auth)
            ]
        )

    def _event(
        self, rotation: Rotation, mailbox_id: str | None, used_for: tuple[SignInUse, ...]
    ) -> MailboxTokenRotatedEvent:
        data = MailboxTokenRotated(
            account_id=rotation.account_id or None,
            mailbox_id=mailbox_id,
            username=rotation.username,
            used_for=used_for,
            refresh_token=SealedToken(sealed=rotation.sealed),
            rotated_at=rotation.rotated_at,
        )
        stage = f"token_rotated/{rotation.grant.hex()}/{mailbox_id}/{rotation.rotated_at.isoformat()}"
        return MailboxTokenRotatedEvent(
            id=result_id(rotation.account_id, (), stage),
            source=self._reporter.source,
            subject=mailbox_id,
            time=rotation.rotated_at,
            data=data,
        )


_WHAT_TO_DO = (
    "bind a queue of the product's to mailbox.token_rotated: it has to store each new token in the snapshot, "
    "and is told until it takes it"
)

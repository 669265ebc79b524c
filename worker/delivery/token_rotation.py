"""Telling the product of refresh tokens that took another's place, until it has been told.

What is to be told stands in the memory that the workers share, so a crash, a broker that is away, or a product that
does not listen yet costs nothing. Two workers may tell of the same rotation at the same time: the result has the same
id from both.
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

    `grant`: a digest of whose grant it is, token left out. `known`: digests of the tokens whose place it has taken;
    the ones that a snapshot may still name are among them.
    """

    grant: bytes
    account_id: str
    username: str
    sealed: str = field(repr=False)
    known: tuple[bytes, ...]
    rotated_at: datetime


class RefreshTokens(Protocol):
    """The memory that all workers of an installation share. Every method raises `Unavailable`."""

    async def take_turn(self, grant: bytes, holder: str, for_s: float) -> bool:
        """Whether the grant may be renewed by this holder now; nobody else may for so long, or until `end_turn`."""

    async def end_turn(self, grant: bytes, holder: str) -> None:
        """Let others have their turn. Nothing happens when it is not the holder's any more."""

    async def newest(self, grant: bytes) -> Rotation | None:
        """The newest token of a grant; None when none was ever rotated."""

    async def keep(self, rotation: Rotation) -> None:
        """Keep a new token in the place of the former one, durably, as one that is still to be told of."""

    async def untold(self, limit: int) -> Sequence[Rotation]:
        """Rotations that were not told of yet, the oldest first."""

    async def told(self, rotation: Rotation) -> None:
        """It was told of; a newer one that took its place meanwhile was not."""


log = structlog.get_logger(__name__)

_AT_A_TIME = 100
_LOOK_EVERY_S = 60.0

IsOf = Callable[[Rotation, str, OAuthAuth], Awaitable[bool]]
"""Whether it is the refresh token of this account's sign-in whose place was taken."""


class TokenRotationNotifier:
    """Publishes `mailbox.token_rotated`: one for each mailbox that signs in with the token."""

    def __init__(
        self, *, tokens: RefreshTokens, snapshot: SnapshotService, is_of: IsOf, reporter: Reporter, publish: Publish
    ) -> None:
        self._tokens = tokens
        self._snapshot = snapshot
        self._is_of = is_of
        self._reporter = reporter
        self._publish = publish

    async def run(self, rotated: asyncio.Event) -> None:
        """Tell, now and whenever `rotated` is set, until cancelled."""
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
        """Tell of all that is not told yet.

        Raises:
            Unavailable: the memory does not answer, or no queue takes the results; what is untold stays so.
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
        """What the token is used for, by mailbox. With a mailbox that is gone nobody can be named any more."""
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

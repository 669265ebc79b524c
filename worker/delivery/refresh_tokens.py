"""Refresh tokens that took another's place: kept for all workers, until the product has stored them.

Many token servers hand out a new refresh token with each renewal and void the former one (RFC 6749 section 6). The
snapshot is then a token behind, and so is every other worker; and with the new token lost, the mailbox is lost until
its owner connects it anew. Here only sealed ones are seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


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

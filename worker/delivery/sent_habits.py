"""What was learned of mailboxes' Sent folders, shared by all workers."""

import hashlib
from dataclasses import dataclass
from typing import Protocol

from worker.domain.snapshot import Mailbox


@dataclass(frozen=True, slots=True)
class SentPlace:
    """A mailbox's Sent folder; with other `settings`, a digest, it is another place, of which nothing is known."""

    account_id: str
    mailbox_id: str
    settings: bytes


class SentHabits(Protocol):
    """Remembers looks into Sent folders. Every method raises `Unavailable`."""

    async def saves(self, place: SentPlace) -> bool | None:
        """Whether the provider saves letters there by itself; None when that is not known."""

    async def saw(self, place: SentPlace, *, was_there: bool) -> None:
        """A letter that was sent a moment ago was there by itself, or was not."""


class NothingLearned:
    """Implements `SentHabits` for those who have no memory: each letter is looked for."""

    async def saves(self, place: SentPlace) -> bool | None:  # noqa: ARG002 - the port's signature
        """Not known."""
        return None

    async def saw(self, place: SentPlace, *, was_there: bool) -> None:
        """Not remembered."""


def sent_place(account_id: str, mailbox: Mailbox) -> SentPlace:
    """Where the copies of this mailbox's letters are, by all that decides it."""
    text = f"{mailbox.smtp.model_dump_json()}{mailbox.sent_copy.model_dump_json()}"
    return SentPlace(account_id, mailbox.id, hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())

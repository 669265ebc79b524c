"""What was learned of mailboxes' Sent folders, shared by all workers."""

import hashlib
import json
from dataclasses import dataclass
from typing import Protocol

from worker.domain.snapshot import Auth, Mailbox, NoAuth


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
    """Where the copies of this mailbox's letters are, by all that decides it.

    Secrets do not: a refresh token is another one every hour, and the folder is the same.
    """
    smtp, copy = mailbox.smtp, mailbox.sent_copy
    servers = [(smtp.host, smtp.port, _username(smtp.auth))]
    if copy.imap is not None:
        servers.append((copy.imap.host, copy.imap.port, _username(copy.imap.auth)))
    text = json.dumps([servers, copy.mode.value, copy.folder])
    return SentPlace(account_id, mailbox.id, hashlib.sha256(text.encode()).digest())


def _username(auth: Auth | None) -> str | None:
    return None if auth is None or isinstance(auth, NoAuth) else auth.username

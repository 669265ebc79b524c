"""Whether a mailbox's provider saves letters to Sent by itself: detected from copies, remembered for all workers."""

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from worker.delivery.ports import SavedCopy
from worker.delivery.sent_copy.jobs import CopyJob, is_learned
from worker.domain.snapshot.model import Auth, Mailbox, NoAuth
from worker.domain.vocabulary import CopyOutcome
from worker.errors import Unavailable

_TELLING = frozenset({CopyOutcome.ALREADY_THERE, CopyOutcome.SAVED})


@dataclass(frozen=True, slots=True)
class SentPlace:
    """A mailbox's Sent folder; other `settings` (a digest) make it another place, of which nothing is known."""

    account_id: str
    mailbox_id: str
    settings: bytes


class SentHabits(Protocol):
    """Remembers what lookups in Sent folders found. Every method raises `Unavailable`."""

    async def saves(self, place: SentPlace) -> bool | None:
        """True when the provider saves letters there by itself; None when unknown."""

    async def saw(self, place: SentPlace, *, was_there: bool) -> None:
        """Record whether a letter sent a moment ago was there by itself."""


class NothingLearned:
    """Implements `SentHabits` without a store: every letter is looked up."""

    async def saves(self, place: SentPlace) -> bool | None:  # noqa: ARG002 - the port's signature
        """Unknown."""
        return None

    async def saw(self, place: SentPlace, *, was_there: bool) -> None:
        """Does nothing."""


def sent_place(account_id: str, mailbox: Mailbox) -> SentPlace:
    """Identify the Sent folder of this mailbox by everything that determines it.

    Secrets are left out: a refresh token changes every hour, and the folder stays the same.
    """
    smtp, copy = mailbox.smtp, mailbox.sent_copy
    servers = [(smtp.host, smtp.port, _username(smtp.auth))]
    if copy.imap is not None:
        servers.append((copy.imap.host, copy.imap.port, _username(copy.imap.auth)))
    text = json.dumps([servers, copy.mode.value, copy.folder])
    return SentPlace(account_id, mailbox.id, hashlib.sha256(text.encode()).digest())


def _username(auth: Auth | None) -> str | None:
    return None if auth is None or isinstance(auth, NoAuth) else auth.username


class AutosaveDetection:
    """For mailboxes whose provider is unknown, in the mode `auto`."""

    def __init__(self, habits: SentHabits) -> None:
        self._habits = habits

    async def verdict(self, job: CopyJob, mailbox: Mailbox) -> CopyOutcome | None:
        """`PROVIDER_SAVES` when earlier letters showed that the provider saves by itself: then Sent is not searched.

        Raises:
            Unavailable: what was learned cannot be read now.
        """
        if is_learned(mailbox) and await self._habits.saves(sent_place(job.account_id, mailbox)):
            return CopyOutcome.PROVIDER_SAVES
        return None

    async def learn(self, job: CopyJob, mailbox: Mailbox, saved: SavedCopy, *, is_first_look: bool) -> None:
        """Remember whether the provider's own copy was there.

        Only from the first lookup for a letter without other transactions: otherwise the copy found may be our own.
        """
        if job.is_whole and is_first_look and is_learned(mailbox) and saved.outcome in _TELLING:
            was_there = saved.outcome is CopyOutcome.ALREADY_THERE
            with suppress(Unavailable):  # the next letter shows it too, and this one's outcome matters more
                await self._habits.saw(sent_place(job.account_id, mailbox), was_there=was_there)

"""Signing in to a mailbox's IMAP server: not while any worker knows that it is refused.

Providers lock accounts for wrong passwords. A refusal by IMAP stops a mailbox's copies and lookups in its Sent folder,
never its letters: SMTP may use another password, or judge the same one differently.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from worker.delivery.mailboxes.state import ImapRefusal, MailboxKey, MailboxStates, Revision, Suspension
from worker.delivery.mailboxes.suspensions import Suspensions
from worker.delivery.mailboxes.sync import NewerSettings
from worker.delivery.ports import Clock, CopyTarget
from worker.delivery.sent_copy.jobs import classify_copy
from worker.domain.failure.classify import Classification
from worker.domain.snapshot.model import Mailbox
from worker.domain.snapshot.secret_references import fingerprint
from worker.domain.transmission import DeliveryFailure
from worker.domain.vocabulary import Reason
from worker.errors import Unavailable

REFUSED_PAUSE_S = 600
"""How long, in seconds, no worker retries a refused sign-in, unless the mailbox's settings change."""

SIGN_IN_REFUSED = frozenset(
    {
        Reason.AUTH_FAILED,
        Reason.AUTH_APP_PASSWORD_REQUIRED,
        Reason.AUTH_BASIC_DISABLED,
        Reason.AUTH_CONFIRMATION_REQUIRED,
        Reason.AUTH_TOKEN_REVOKED,
    }
)
"""The reasons of a refused sign-in."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A mailbox in a snapshot of this version, and the credentials for its IMAP server."""

    mailbox: Mailbox
    version: int
    target: CopyTarget

    @property
    def key(self) -> MailboxKey:
        return MailboxKey(self.target.account_id, self.target.mailbox_id)


class ImapSignIn:
    """Knows refused sign-ins, and shares new ones with the other workers."""

    def __init__(
        self, states: MailboxStates, suspensions: Suspensions, newer_settings: NewerSettings, clock: Clock
    ) -> None:
        self._states = states
        self._suspensions = suspensions
        self._newer_settings = newer_settings
        self._clock = clock

    async def obstacle(self, caller: Caller) -> Suspension | ImapRefusal | None:
        """Why no worker may sign in now. Raises `Unavailable`."""
        standing = await self._states.standing(caller.key)
        self._suspensions.learn_of(caller.key, standing.suspension)
        auth = caller.target.auth
        if self._suspensions.keeps_from_signing_in(caller.key, caller.mailbox, caller.version, auth):
            return standing.suspension
        refusal = standing.imap_refusal
        if refusal is None or refusal.until <= self._clock.now():
            return None
        return refusal if refusal.fingerprint == fingerprint(caller.mailbox) else None

    async def refused(self, caller: Caller, trouble: DeliveryFailure) -> Classification | None:
        """Classify a refused sign-in and record it for all workers; None when the trouble was something else.

        Also None for a revoked token that has a successor in the snapshot: the copy is retried with the successor.
        """
        why = classify_copy(trouble)
        if why.reason not in SIGN_IN_REFUSED:
            return None
        digest = fingerprint(caller.mailbox)
        if why.reason is Reason.AUTH_TOKEN_REVOKED and await self._newer_settings.there_are(
            caller.key, Revision(digest, caller.version)
        ):
            return None
        until = self._clock.now() + timedelta(seconds=REFUSED_PAUSE_S)
        with suppress(Unavailable):  # the other workers then learn it from the server
            await self._states.refuse_imap(caller.key, ImapRefusal(digest, until, why.reason))
        return why

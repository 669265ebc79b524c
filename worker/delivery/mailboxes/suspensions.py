"""Suspended mailboxes: known to every worker, suspended and announced once, resumed by the first worker to learn why.

This worker holds a copy of the shared state, seconds old at most, which saves a query for each waiting letter. The
shared state itself is read before a connection is used (`connection_leases`), so an outdated copy does no harm.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime

import structlog

from worker.delivery.mailboxes.state import MailboxKey, MailboxStates, OutboxMessage, Revision, StaleMessage, Suspension
from worker.delivery.messages import Publish
from worker.delivery.ports import Clock
from worker.delivery.results import Reporter
from worker.domain.failure.classify import Classification
from worker.domain.failure.hints import hint_for
from worker.domain.identity import result_id
from worker.domain.results.events import MailboxResumedEvent, MailboxSuspendedEvent, parse_result
from worker.domain.results.models import MailboxResumed, MailboxSuspended, ServerReply
from worker.domain.snapshot.model import Auth, Mailbox
from worker.domain.snapshot.secret_references import fingerprint
from worker.domain.vocabulary import Action, Reason, ResumedBy, Scope
from worker.errors import Unavailable


def suspended_event(source: str, suspension: Suspension) -> MailboxSuspendedEvent:
    """Suspension events have deterministic ids, so consumers can drop duplicates."""
    why = Classification(suspension.reason, Scope.MAILBOX, Action.SUSPEND)
    said = suspension.code is not None or suspension.words
    data = MailboxSuspended(
        account_id=suspension.key.account_id,
        mailbox_id=suspension.key.mailbox_id,
        address=suspension.address,
        reason=why.reason,
        scope=why.scope,
        action=why.action,
        hint=hint_for(why.reason, why.remedy),
        reply=ServerReply(code=suspension.code, enhanced=suspension.enhanced, text=suspension.words or "")
        if said
        else None,
        detail=suspension.detail,
        suspended_at=suspension.since,
        event_id=suspension.event_id,
    )
    return MailboxSuspendedEvent(
        id=_id(suspension, "suspended"),
        source=source,
        subject=suspension.key.mailbox_id,
        time=suspension.since,
        traceparent=suspension.traceparent,
        data=data,
    )


def resumed_event(
    source: str,
    suspension: Suspension,
    at: datetime,
    by: ResumedBy,
    operator: str | None = None,
    why: str | None = None,
) -> MailboxResumedEvent:
    """The end of this suspension; its id derives from the suspension, because that ends only once."""
    data = MailboxResumed(
        account_id=suspension.key.account_id,
        mailbox_id=suspension.key.mailbox_id,
        address=suspension.address,
        resumed_at=at,
        resumed_by=by,
        operator=operator,
        why=why,
        reason=suspension.reason,
    )
    return MailboxResumedEvent(
        id=_id(suspension, "resumed"), source=source, subject=suspension.key.mailbox_id, time=at, data=data
    )


def _id(suspension: Suspension, stage: str) -> str:
    since = suspension.since.astimezone(UTC).isoformat()
    return result_id(suspension.key.account_id, (), f"{stage}/{suspension.key.mailbox_id}/{since}")


SIGN_IN_REASONS = frozenset(
    {
        Reason.AUTH_FAILED,
        Reason.AUTH_APP_PASSWORD_REQUIRED,
        Reason.AUTH_BASIC_DISABLED,
        Reason.AUTH_CONFIRMATION_REQUIRED,
        Reason.AUTH_TOKEN_REVOKED,
    }
)
"""Why a sign-in stays refused until someone changes the settings."""

log = structlog.get_logger(__name__)


class Suspensions:
    """Suspends and resumes mailboxes."""

    def __init__(
        self, states: MailboxStates, reporter: Reporter, publish: Publish, clock: Clock, retry_s: float = 1.0
    ) -> None:
        self._states = states
        self._reporter = reporter
        self._publish = publish
        self._clock = clock
        self._retry_s = retry_s
        self._known: dict[MailboxKey, Suspension] = {}

    def of(self, key: MailboxKey) -> Suspension | None:
        """The suspension of a mailbox, as far as this worker knows."""
        return self._known.get(key)

    @property
    def known(self) -> list[Suspension]:
        """All suspensions, as far as this worker knows."""
        return list(self._known.values())

    def counts(self) -> dict[str, float]:
        """How many mailboxes are suspended, by reason: the same number in every worker."""
        return {reason.value: count for reason, count in Counter(s.reason for s in self._known.values()).items()}

    def learn(self, suspensions: Iterable[Suspension]) -> None:
        """Replace the known suspensions with these."""
        self._known = {suspension.key: suspension for suspension in suspensions}

    def learn_one(self, suspension: Suspension) -> None:
        """Add a suspension."""
        self._known[suspension.key] = suspension

    async def suspend(self, suspension: Suspension) -> None:
        """Suspend a mailbox, and announce it unless another worker has. Waits as long as the ledger is unavailable."""
        self._known[suspension.key] = suspension  # first of all: no other letter of this worker tries
        event = suspended_event(self._reporter.source, suspension)
        announcement = OutboxMessage(event.id, event.to_json())
        in_force = await self._patiently(lambda: self._states.suspend(suspension, announcement))
        if in_force is None:
            self._forget(suspension)
            return
        self._known[suspension.key] = in_force
        if in_force == suspension:
            log.warning("mailbox.suspended", mailbox_id=suspension.key.mailbox_id, reason=suspension.reason.value)
            await self._tell(event)

    async def resume(
        self, suspension: Suspension, at: datetime, by: ResumedBy, operator: str | None = None, why: str | None = None
    ) -> bool:
        """Resume a mailbox and announce it; False when it was not suspended any more. Raises `Unavailable`."""
        return await self._resume(suspension, resumed_event(self._reporter.source, suspension, at, by, operator, why))

    async def resume_changed(self, suspension: Suspension, revision: Revision | None) -> None:
        """Resume a mailbox that now has these settings; None: it no longer exists. Raises `Unavailable`."""
        by = ResumedBy.SETTINGS_CHANGED
        event = resumed_event(self._reporter.source, suspension, self._clock.now(), by)
        await self._resume(suspension, event, revision)

    async def _resume(
        self, suspension: Suspension, event: MailboxResumedEvent, revision: Revision | None = None
    ) -> bool:
        is_mine = await self._states.resume(suspension, OutboxMessage(event.id, event.to_json()), revision)
        self._forget(suspension)
        if is_mine:
            log.info(
                "mailbox.resumed",
                account_id=suspension.key.account_id,
                mailbox_id=suspension.key.mailbox_id,
                reason=suspension.reason.value,
                by=event.data.resumed_by.value,
            )
            await self._tell(event)
        return is_mine

    async def in_the_way_of(self, key: MailboxKey, revision: Revision) -> Suspension | None:
        """The suspension that applies to a mailbox with these settings; one that these settings end is ended here.

        Raises `Unavailable`.
        """
        suspension = self.of(key)
        if suspension is None or not revision.is_newer_than(suspension.revision):
            return suspension
        await self.resume_changed(suspension, revision)
        return self.of(key)

    def learn_of(self, key: MailboxKey, suspension: Suspension | None) -> None:
        """Set or clear the suspension of a mailbox."""
        if suspension is not None:
            self.learn_one(suspension)
        else:
            self._known.pop(key, None)

    def keeps_from_signing_in(self, key: MailboxKey, mailbox: Mailbox, version: int, auth: Auth) -> bool:
        """True when the suspension is a refused sign-in with these credentials: they fail elsewhere too, as on IMAP.

        `version`: of the snapshot that has the mailbox.
        """
        suspension = self.of(key)
        if suspension is None or suspension.reason not in SIGN_IN_REASONS or auth != mailbox.smtp.auth:
            return False
        return not Revision(fingerprint(mailbox), version).is_newer_than(suspension.revision)

    async def tell_overdue(self, overdue: Iterable[StaleMessage]) -> None:
        """Publish announcements of workers that died between a change and its publication."""
        for each in overdue:
            if await self._states.take_over(each):
                await self._tell_left_behind(each.announcement)

    async def _tell_left_behind(self, announcement: OutboxMessage) -> None:
        try:
            event = parse_result(announcement.body)
        except ValueError:  # of a newer version, perhaps: it stays for a worker that can read it
            log.error("mailbox.announcement_unreadable", id=announcement.id)
            return
        if isinstance(event, MailboxSuspendedEvent | MailboxResumedEvent):
            await self._tell(event)

    async def _tell(self, event: MailboxSuspendedEvent | MailboxResumedEvent) -> None:
        try:
            await self._publish(self._reporter.publication(event))
            await self._states.told(event.id)
        except Unavailable as error:  # it stays in the outbox, and is published soon, with the same id
            log.warning("mailbox.result_failed", type=event.type.value, why=str(error))

    def _forget(self, suspension: Suspension) -> None:
        if self._known.get(suspension.key) == suspension:
            del self._known[suspension.key]

    async def _patiently(self, step: Callable[[], Awaitable[Suspension | None]]) -> Suspension | None:
        while True:
            try:
                return await step()
            except Unavailable as error:
                log.warning("ledger.retry", operation="suspend", error=str(error))
                await asyncio.sleep(self._retry_s)

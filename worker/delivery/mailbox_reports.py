"""The results that tell of a mailbox: it was suspended, it goes on."""

from datetime import UTC, datetime

from worker.delivery.mailbox_states import Suspension
from worker.domain.classification import Classification
from worker.domain.envelope import MailboxResumedEvent, MailboxSuspendedEvent
from worker.domain.hints import hint_for
from worker.domain.identity import result_id
from worker.domain.results import MailboxResumed, MailboxSuspended, ServerReply
from worker.domain.vocabulary import Action, ResumedBy, Scope


def suspended_event(source: str, suspension: Suspension) -> MailboxSuspendedEvent:
    """The same suspension is told of with the same id, whoever does it and however often."""
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
    """The end of this suspension; the id is the suspension's, because it ends once."""
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

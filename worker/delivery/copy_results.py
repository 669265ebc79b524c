"""The result that tells what became of a copy."""

from datetime import datetime
from typing import Any

from worker.delivery.copy_jobs import CopyJob
from worker.delivery.ports import SavedCopy
from worker.domain.classification import Classification
from worker.domain.envelope import SentCopyFailedEvent, SentCopySavedEvent, SentCopySkippedEvent
from worker.domain.hints import hint_for
from worker.domain.identity import result_id
from worker.domain.results import SentCopyResult, copy_type, server_reply
from worker.domain.vocabulary import ResultType

CopyEvent = SentCopySavedEvent | SentCopySkippedEvent | SentCopyFailedEvent

_CLASSES: dict[ResultType, type[CopyEvent]] = {
    ResultType.SENT_COPY_SAVED: SentCopySavedEvent,
    ResultType.SENT_COPY_SKIPPED: SentCopySkippedEvent,
    ResultType.SENT_COPY_FAILED: SentCopyFailedEvent,
}


def copy_result(
    source: str, job: CopyJob, saved: SavedCopy, why: Classification | None, at: datetime, *, attempt: int
) -> CopyEvent:
    """The event for a copy that came to its end; `why` says why there is none, when one was wanted."""
    event_type = copy_type(saved.outcome)
    trouble = saved.trouble
    data = SentCopyResult(
        account_id=job.account_id,
        event_id=job.event_id,
        event_source=job.event_source,
        event_type=job.event_type,
        task_id=job.task_id,
        comment_id=job.comment_id,
        message_id=job.message_id,
        mailbox_id=job.mailbox_id,
        attempt=attempt,
        outcome=saved.outcome,
        folder=saved.folder,
        uid=saved.uid,
        uid_validity=saved.uid_validity,
        reply=server_reply(trouble.reply) if trouble else None,
        detail=trouble.detail or None if trouble else None,
        **_judged(why),
    )
    return _CLASSES[event_type](
        id=result_id(job.event_key, job.recipients, event_type.value),
        source=source,
        subject=job.task_id,
        time=at,
        traceparent=job.traceparent,
        tracestate=job.tracestate,
        data=data,
    )


def _judged(why: Classification | None) -> dict[str, Any]:
    if why is None:
        return {}
    return {"reason": why.reason, "scope": why.scope, "action": why.action, "hint": hint_for(why.reason, why.remedy)}

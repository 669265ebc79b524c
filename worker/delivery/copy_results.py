"""The results that tell what became of a copy, or that it is put off."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from worker.delivery.copy_jobs import CopyJob
from worker.delivery.ports import SavedCopy
from worker.domain.classification import Classification
from worker.domain.copy_hints import copy_hint
from worker.domain.envelope import SentCopyDeferredEvent, SentCopyFailedEvent, SentCopySavedEvent, SentCopySkippedEvent
from worker.domain.identity import result_id
from worker.domain.results import SentCopyDeferred, SentCopyResult, copy_type, server_reply
from worker.domain.transmission import Trouble
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
    data = SentCopyResult(
        **_of_copy(job, attempt, saved.trouble),
        outcome=saved.outcome,
        folder=saved.folder,
        uid=saved.uid,
        uid_validity=saved.uid_validity,
        **_judged(why),
    )
    return _CLASSES[event_type](**_envelope(source, job, event_type.value, at), data=data)


@dataclass(frozen=True, slots=True)
class PutOff:
    """A copy that is tried again: after how many attempts, why, when next, and since when it has been tried at all."""

    attempt: int
    why: Classification
    next_attempt_at: datetime
    first_seen: datetime
    saved: SavedCopy | None = None


def copy_deferred(source: str, job: CopyJob, put_off: PutOff, at: datetime) -> SentCopyDeferredEvent:
    """The event for a copy that is put off; equal ones for equal attempts and reasons are one and the same result."""
    saved = put_off.saved
    data = SentCopyDeferred(
        **_of_copy(job, put_off.attempt, saved.trouble if saved else None),
        folder=saved.folder if saved else None,
        next_attempt_at=put_off.next_attempt_at,
        **_judged(put_off.why),
    )
    began = put_off.first_seen.astimezone(UTC).isoformat()  # after a replay it is another result
    stage = f"{ResultType.SENT_COPY_DEFERRED.value}/{put_off.attempt}/{put_off.why.reason.value}/{began}"
    return SentCopyDeferredEvent(**_envelope(source, job, stage, at), data=data)


def _of_copy(job: CopyJob, attempt: int, trouble: Trouble | None) -> dict[str, Any]:
    return {
        "account_id": job.account_id,
        "event_id": job.event_id,
        "event_source": job.event_source,
        "event_type": job.event_type,
        "task_id": job.task_id,
        "comment_id": job.comment_id,
        "message_id": job.message_id,
        "mailbox_id": job.mailbox_id,
        "attempt": attempt,
        "reply": server_reply(trouble.reply) if trouble else None,
        "detail": trouble.detail or None if trouble else None,
    }


def _envelope(source: str, job: CopyJob, stage: str, at: datetime) -> dict[str, Any]:
    return {
        "id": result_id(job.event_key, job.recipients, stage),
        "source": source,
        "subject": job.task_id,
        "time": at,
        "traceparent": job.traceparent,
        "tracestate": job.tracestate,
    }


def _judged(why: Classification | None) -> dict[str, Any]:
    if why is None:
        return {}
    return {"reason": why.reason, "scope": why.scope, "action": why.action, "hint": copy_hint(why.reason)}

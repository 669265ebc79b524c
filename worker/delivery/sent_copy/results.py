"""Outcomes of copies: results, metrics and log lines."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from worker.delivery.instrumentation import Observer
from worker.delivery.messages import Publication
from worker.delivery.ports import Clock, SavedCopy
from worker.delivery.results import Reporter
from worker.delivery.sent_copy.jobs import CopyJob
from worker.domain.failure.classify import Classification
from worker.domain.failure.copy_hints import copy_hint
from worker.domain.identity import result_id
from worker.domain.providers import GENERIC, provider_of
from worker.domain.results.events import (
    SentCopyDeferredEvent,
    SentCopyFailedEvent,
    SentCopySavedEvent,
    SentCopySkippedEvent,
)
from worker.domain.results.models import SentCopyDeferred, SentCopyResult, copy_type, server_reply
from worker.domain.slo import COPY_WITHIN_S, Promptness, is_end_excused, is_wait_excused, promptness
from worker.domain.snapshot.model import Mailbox
from worker.domain.transmission import DeliveryFailure
from worker.domain.vocabulary import CopyOutcome, ResultType
from worker.domain.work import Work

log = structlog.get_logger(__name__)

_SAVED = frozenset({CopyOutcome.SAVED, CopyOutcome.ALREADY_THERE})
_NOT_WANTED = frozenset({CopyOutcome.TURNED_OFF, CopyOutcome.PROVIDER_SAVES, CopyOutcome.NO_IMAP})


def copy_promptness(
    saved: SavedCopy, seconds: float, work: Work | None, why: Classification | None
) -> Promptness | None:
    """Rate a copy that took so many seconds after its letter; None when no copy was wanted.

    `work` None: it was never requested, because it is too large for the broker. That is our limit, not the folder's.
    """
    if saved.outcome in _NOT_WANTED:
        return None
    if work is None:
        return Promptness.LOST
    was_waiting = is_wait_excused(work.last_reason, has_turn=work.turn is not None)
    if saved.outcome in _SAVED:
        return promptness(seconds, COPY_WITHIN_S, is_excused=was_waiting)
    # A mailbox without a folder, or with one that refuses, would not have taken the copy at all.
    is_excused = why is None or is_end_excused(why, is_wait_excused=was_waiting)
    return promptness(None, COPY_WITHIN_S, is_excused=is_excused)


CopyEvent = SentCopySavedEvent | SentCopySkippedEvent | SentCopyFailedEvent

_CLASSES: dict[ResultType, type[CopyEvent]] = {
    ResultType.SENT_COPY_SAVED: SentCopySavedEvent,
    ResultType.SENT_COPY_SKIPPED: SentCopySkippedEvent,
    ResultType.SENT_COPY_FAILED: SentCopyFailedEvent,
}


def copy_result(
    source: str, job: CopyJob, saved: SavedCopy, why: Classification | None, at: datetime, *, attempt: int
) -> CopyEvent:
    """The event for a finished copy; `why` explains a missing one that was wanted."""
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
    """A deferred copy: the attempts so far, the reason, the next attempt, and when it was first tried."""

    attempt: int
    why: Classification
    next_attempt_at: datetime
    first_seen: datetime
    saved: SavedCopy | None = None


def copy_deferred(source: str, job: CopyJob, put_off: PutOff, at: datetime) -> SentCopyDeferredEvent:
    """The event for a deferred copy; equal attempts and reasons give the same result."""
    saved = put_off.saved
    data = SentCopyDeferred(
        **_of_copy(job, put_off.attempt, saved.trouble if saved else None),
        folder=saved.folder if saved else None,
        next_attempt_at=put_off.next_attempt_at,
        **_judged(put_off.why),
    )
    began = put_off.first_seen.astimezone(UTC).isoformat()  # after a replay it is a different result
    stage = f"{ResultType.SENT_COPY_DEFERRED.value}/{put_off.attempt}/{put_off.why.reason.value}/{began}"
    return SentCopyDeferredEvent(**_envelope(source, job, stage, at), data=data)


def _of_copy(job: CopyJob, attempt: int, trouble: DeliveryFailure | None) -> dict[str, Any]:
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


class CopyResults:
    """Builds the results of copies."""

    def __init__(self, reporter: Reporter, observer: Observer, clock: Clock) -> None:
        self._reporter = reporter
        self._observer = observer
        self._clock = clock

    def ended(
        self,
        job: CopyJob,
        saved: SavedCopy,
        mailbox: Mailbox | None,
        *,
        attempt: int,
        work: Work | None = None,
        why: Classification | None = None,
    ) -> Publication:
        """Finish a copy; `why` explains a missing one that was wanted."""
        provider = provider_of(mailbox.smtp.host) if mailbox else GENERIC
        seconds = (self._clock.now() - job.sent_at).total_seconds()
        self._observer.copied(provider.name, saved.outcome, seconds, copy_promptness(saved, seconds, work, why))
        log.info(
            f"sent_copy.{saved.outcome.value}",
            mailbox_id=job.mailbox_id,
            message_id=job.message_id,
            attempt=attempt,
            reason=why.reason.value if why else None,
        )
        result = copy_result(self._reporter.source, job, saved, why, self._clock.now(), attempt=attempt)
        return self._reporter.publication(result)

    def put_off(
        self, job: CopyJob, work: Work, why: Classification, level_s: int, saved: SavedCopy | None
    ) -> list[Publication]:
        """Retry a copy after `level_s` seconds: a result only when the reason differs from the last one.

        `work.last_reason` is the last one.
        """
        log.info(
            "sent_copy.deferred",
            mailbox_id=job.mailbox_id,
            message_id=job.message_id,
            attempt=work.attempts,
            reason=why.reason.value,
        )
        if work.last_reason == why.reason.value:
            return []
        self._observer.copy_deferred(why.reason)
        now = self._clock.now()
        put_off = PutOff(work.attempts, why, now + timedelta(seconds=level_s), work.first_seen, saved)
        return [self._reporter.publication(copy_deferred(self._reporter.source, job, put_off, now))]

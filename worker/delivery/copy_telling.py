"""Telling what became of copies: as results, in metrics and in the log."""

from datetime import timedelta

import structlog

from worker.delivery.copy_jobs import CopyJob
from worker.delivery.copy_promptness import copy_promptness
from worker.delivery.copy_results import PutOff, copy_deferred, copy_result
from worker.delivery.messages import Publication
from worker.delivery.observing import Observer
from worker.delivery.ports import Clock, SavedCopy
from worker.delivery.reporting import Reporter
from worker.domain.classification import Classification
from worker.domain.providers import GENERIC, provider_of
from worker.domain.snapshot import Mailbox
from worker.domain.work import Work

log = structlog.get_logger(__name__)


class CopyTelling:
    """Makes the results of copies."""

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
        """A copy came to its end; `why` says why there is none, when one was wanted."""
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
        """A copy is tried again after `level_s` seconds: a result where the reason is another than the last time.

        `work.last_reason` is that of the last time.
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

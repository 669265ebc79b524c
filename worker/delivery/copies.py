"""The second stage: a sent letter's copy in the mailbox's Sent folder.

It has its own queue, retries, deadline and results. Whatever happens here, no letter is ever sent again because of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from worker.delivery import requeueing
from worker.delivery.case import Case
from worker.delivery.copy_jobs import JOB, CopyJob, copy_job, copy_publication, copy_target, copy_verdict, read_copy_job
from worker.delivery.copy_results import copy_result
from worker.delivery.lanes import Lanes
from worker.delivery.messages import Arrival, Publication
from worker.delivery.observing import Observer
from worker.delivery.ports import Clock, CopyTarget, SavedCopy, SentFolder, SnapshotService
from worker.delivery.reporting import Reporter
from worker.domain.backoff import is_expired, pause_level_s, retry_level_s
from worker.domain.classification import Classification
from worker.domain.letters import ComposedLetter
from worker.domain.providers import provider_of
from worker.domain.snapshot import Mailbox
from worker.domain.topology import Topology
from worker.domain.transmission import Fault, Trouble
from worker.domain.vocabulary import Action, CopyOutcome, Phase, Reason, Scope
from worker.domain.work import Work, read_work
from worker.errors import InvalidEvent

log = structlog.get_logger(__name__)

_CONNECTIONS = 1


@dataclass(frozen=True, slots=True)
class CopyLimits:
    """For how long a copy is tried, in seconds, and how large it may be to travel through the broker."""

    max_age_s: float
    max_bytes: int


class Copies:
    """Asks for copies, and saves them."""

    def __init__(
        self,
        *,
        snapshot: SnapshotService,
        sent_folder: SentFolder,
        reporter: Reporter,
        topology: Topology,
        clock: Clock,
        observer: Observer,
        limits: CopyLimits,
    ) -> None:
        self._snapshot = snapshot
        self._sent_folder = sent_folder
        self._reporter = reporter
        self._topology = topology
        self._clock = clock
        self._observer = observer
        self._limits = limits
        self._lanes = Lanes(clock)

    def after_sending(
        self, case: Case, mailbox: Mailbox, letter: ComposedLetter, positions: tuple[int, ...]
    ) -> list[Publication]:
        """What follows from a letter that was sent: a job for this stage, or the result that no copy is wanted."""
        job = copy_job(case, mailbox, letter, positions)
        verdict = copy_verdict(mailbox)
        if verdict is not None:
            return [self._ended(job, SavedCopy(verdict), mailbox, attempt=0)]
        if len(letter.copy) > self._limits.max_bytes:
            why = Classification(Reason.MESSAGE_TOO_LARGE, Scope.MESSAGE, Action.FAIL)
            return [self._ended(job, SavedCopy(CopyOutcome.FAILED), mailbox, attempt=0, why=why)]
        return [copy_publication(job, mailbox, letter.copy, self._topology)]

    async def handle(self, arrival: Arrival) -> Sequence[Publication]:
        """Save the copy that a message of the copying queue asks for."""
        now = self._clock.now()
        try:
            job = read_copy_job(arrival)
            work = read_work(arrival.headers, now)
        except (InvalidEvent, ValueError) as error:
            self._observer.buried(Reason.INVALID_EVENT)
            return [requeueing.dead(arrival, self._topology, requeueing.Death(Reason.INVALID_EVENT, str(error), now))]
        with structlog.contextvars.bound_contextvars(event_id=job.event_id, traceparent=job.traceparent):
            return await self._handle(arrival, job, work)

    async def _handle(self, arrival: Arrival, job: CopyJob, work: Work) -> list[Publication]:
        mailbox = self._mailbox(job)
        if mailbox is None:
            return self._again_or_never(arrival, job, work, _unavailable(Reason.SENDER_UNAVAILABLE), None, None)
        verdict = copy_verdict(mailbox)
        target = copy_target(job.account_id, mailbox)
        if verdict is not None or target is None:  # the mailbox was changed after the letter was sent
            saved = SavedCopy(verdict or CopyOutcome.NO_IMAP)
            return [self._ended(job, saved, mailbox, attempt=work.attempts)]
        lane = self._lanes.of(target, _CONNECTIONS)
        if closed := lane.closed():
            level_s = pause_level_s(closed.wait_s or 0)
            return [self._later(arrival, work, level_s)]
        async with lane.place():
            saved = await self._save(target, job, arrival.body)
        if saved.outcome is not CopyOutcome.FAILED or saved.trouble is None:
            return [self._ended(job, saved, mailbox, attempt=work.attempts + 1)]
        return self._again_or_never(arrival, job, work, classify_copy(saved.trouble), saved, mailbox)

    async def _save(self, target: CopyTarget, job: CopyJob, letter: bytes) -> SavedCopy:
        began = self._clock.monotonic()
        saved = await self._sent_folder.save(target, job.message_id, job.date, letter)
        self._observer.timed("append", self._clock.monotonic() - began)
        return saved

    def _mailbox(self, job: CopyJob) -> Mailbox | None:
        account = self._snapshot.directory.account(job.account_id)
        if account is None:
            return None
        return next((mailbox for mailbox in account.mailboxes if mailbox.id == job.mailbox_id), None)

    def _again_or_never(
        self,
        arrival: Arrival,
        job: CopyJob,
        work: Work,
        why: Classification,
        saved: SavedCopy | None,
        mailbox: Mailbox | None,
    ) -> list[Publication]:
        """Try again later, until the copy is too old or trying again would not help."""
        if why.action is Action.RETRY and is_expired(work.first_seen, self._clock.now(), self._limits.max_age_s):
            why = Classification(Reason.EXPIRED, Scope.MESSAGE, Action.FAIL)
        if why.action is Action.FAIL:
            saved = saved or SavedCopy(CopyOutcome.FAILED)
            return [self._ended(job, saved, mailbox, attempt=work.attempts + 1, why=why)]
        attempts = work.attempts + 1
        log.info("sent_copy.deferred", message_id=job.message_id, reason=why.reason.value, attempt=attempts)
        again = Work(work.first_seen, attempts, last_reason=why.reason.value)
        return [self._later(arrival, again, retry_level_s(attempts))]

    def _later(self, arrival: Arrival, work: Work, level_s: int) -> Publication:
        """The same job for a later time: without its own header nobody could read it any more."""
        headers = {JOB: str(arrival.headers[JOB]), **work.headers()}
        return requeueing.later(arrival, headers, self._topology, level_s)

    def _ended(
        self,
        job: CopyJob,
        saved: SavedCopy,
        mailbox: Mailbox | None,
        *,
        attempt: int,
        why: Classification | None = None,
    ) -> Publication:
        provider = provider_of(mailbox.smtp.host).name if mailbox else "generic"
        if saved.outcome is CopyOutcome.NO_FOLDER and why is None:
            why = classify_copy(saved.trouble) if saved.trouble else None
        self._observer.copied(provider, saved.outcome)
        log.info(
            f"sent_copy.{saved.outcome.value}",
            mailbox_id=job.mailbox_id,
            message_id=job.message_id,
            attempt=attempt,
            reason=why.reason.value if why else None,
        )
        return self._reporter.publication(
            copy_result(self._reporter.source, job, saved, why, self._clock.now(), attempt=attempt)
        )


def _unavailable(reason: Reason) -> Classification:
    return Classification(reason, Scope.MAILBOX, Action.RETRY)


_PASSING_CODES = ("[UNAVAILABLE]", "[INUSE]", "[LIMIT]", "[SERVERBUG]")


def classify_copy(trouble: Trouble) -> Classification:
    """What a failed copy means; IMAP has no reply codes, so the server's own words are in the detail (RFC 5530).

    A refused sign-in is not repeated: providers lock mailboxes for that.
    """
    words = trouble.detail.upper()
    if "[OVERQUOTA]" in words:
        return Classification(Reason.MAILBOX_FULL, Scope.MAILBOX, Action.FAIL)
    if trouble.fault is Fault.TOKEN_REFUSED:
        return Classification(Reason.AUTH_TOKEN_REVOKED, Scope.MAILBOX, Action.FAIL)
    is_refused = trouble.fault in (Fault.REPLY, Fault.SECRET, Fault.NO_AUTH_MECHANISM)
    if trouble.phase is Phase.AUTH and is_refused and not any(code in words for code in _PASSING_CODES):
        return Classification(Reason.AUTH_FAILED, Scope.MAILBOX, Action.FAIL)
    reason = _REASONS.get(trouble.fault, Reason.TEMPORARILY_UNAVAILABLE)
    is_permanent = trouble.fault in (Fault.TOO_LARGE, Fault.EGRESS)
    return Classification(reason, Scope.MAILBOX, Action.FAIL if is_permanent else Action.RETRY)


_REASONS = {
    Fault.DNS: Reason.DNS_FAILED,
    Fault.CONNECT: Reason.CONNECT_FAILED,
    Fault.EGRESS: Reason.EGRESS_DENIED,
    Fault.TLS: Reason.TLS_FAILED,
    Fault.TIMEOUT: Reason.TIMEOUT,
    Fault.DISCONNECTED: Reason.DISCONNECTED,
    Fault.TOO_LARGE: Reason.MESSAGE_TOO_LARGE,
}

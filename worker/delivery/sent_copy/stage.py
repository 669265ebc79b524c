"""The second stage: a sent letter's copy in the mailbox's Sent folder.

It has its own queue, retries, deadline and results. Whatever happens here, no letter is sent again because of it.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import structlog

from worker.delivery import requeue
from worker.delivery.context import EventContext
from worker.delivery.dead_letters import RETURNED_TOO_OFTEN, has_returned_too_often
from worker.delivery.in_progress import InProgress
from worker.delivery.instrumentation import Stage, begin_subject
from worker.delivery.ledger import Granted
from worker.delivery.mailboxes.backlog import Backlogged, CoolingDown
from worker.delivery.mailboxes.in_hand import InHand
from worker.delivery.mailboxes.lanes import Lane, Lanes
from worker.delivery.mailboxes.state import ImapRefusal, Suspension
from worker.delivery.messages import Arrival, Publication
from worker.delivery.places import Holder, Places, act_for
from worker.delivery.ports import CopyTarget, Directory, SavedCopy
from worker.delivery.sent_copy.autosave_detection import AutosaveDetection
from worker.delivery.sent_copy.imap_sign_in import REFUSED_PAUSE_S, SIGN_IN_REFUSED, Caller, ImapSignIn
from worker.delivery.sent_copy.jobs import (
    JOB,
    Accepted,
    CopyJob,
    classify_copy,
    copy_job,
    copy_publication,
    copy_target,
    copy_verdict,
    read_copy_job,
)
from worker.delivery.sent_copy.results import CopyResults
from worker.delivery.services import Services
from worker.domain.backoff import is_expired, pause_level_s, retry_level_s, waiting_level_s
from worker.domain.failure.classify import Classification
from worker.domain.identity import copy_key
from worker.domain.letter.model import ComposedLetter
from worker.domain.snapshot.model import Mailbox
from worker.domain.topology import Topology
from worker.domain.transmission import DeliveryFailure
from worker.domain.vocabulary import Action, CopyOutcome, Phase, Reason, Scope
from worker.domain.work import Work, read_work
from worker.errors import InvalidEvent, Unavailable

log = structlog.get_logger(__name__)

_CONNECTIONS = 1
_UNREACHABLE_PAUSE_S = 20
_WAYS_IN = frozenset({Phase.CONNECT, Phase.GREETING, Phase.TLS})
_ONE = (0,)  # a copy has no recipients of its own


@dataclass(frozen=True, slots=True)
class Order:
    """A parsed message of the copying queue."""

    arrival: Arrival
    job: CopyJob
    work: Work

    @property
    def is_first_look(self) -> bool:
        """True when no worker can have begun to save this copy before."""
        return self.work.attempts == 0 and not self.arrival.is_redelivered

    def later(self, work: Work, topology: Topology, level_s: int) -> Publication:
        """The same order, delayed, with the remaining work."""
        headers = {JOB: self.job.model_dump_json(), **work.headers()}
        return requeue.later(self.arrival, headers, topology, level_s)


class Copies:
    """Requests copies, and saves them."""

    def __init__(self, services: Services, sign_in: ImapSignIn) -> None:
        rules = services.rules
        self._snapshot = services.snapshot
        self._ledger = services.ledger
        self._sent_folder = services.sent_folder
        self._clock = services.clock
        self._observer = services.observer
        self._tracer = services.tracer
        self._topology = rules.topology
        self._limits = rules.copy_limits
        self._autosave = AutosaveDetection(services.sent_habits)
        self._results = CopyResults(rules.reporter, services.observer, services.clock)
        self._in_hand = InHand(Places(rules.copy_limits.in_hand, rules.limits.shares), services.clock)
        self._lanes = Lanes(services.clock)
        self._in_progress = InProgress()
        self._sign_in = sign_in

    def after_sending(
        self, context: EventContext, mailbox: Mailbox, letter: ComposedLetter, accepted: Accepted
    ) -> list[Publication]:
        """The follow-up of a sent letter: a job for this stage, or the result that no copy is wanted."""
        job = copy_job(context, mailbox, letter.message_id, accepted)
        verdict = copy_verdict(mailbox)
        if verdict is not None:
            return [self._results.ended(job, SavedCopy(verdict), mailbox, attempt=0)]
        if len(letter.copy) > self._limits.max_bytes:
            why = Classification(Reason.MESSAGE_TOO_LARGE, Scope.MESSAGE, Action.FAIL)
            return [self._results.ended(job, SavedCopy(CopyOutcome.FAILED), mailbox, attempt=0, why=why)]
        return [copy_publication(job, mailbox, letter.copy, self._topology)]

    def after_finding(
        self, context: EventContext, mailbox: Mailbox, message_id: str, positions: tuple[int, ...]
    ) -> Publication:
        """The result for a letter whose acceptance was proven by its copy in Sent."""
        job = copy_job(context, mailbox, message_id, Accepted(positions))
        return self._results.ended(
            job, SavedCopy(copy_verdict(mailbox) or CopyOutcome.ALREADY_THERE), mailbox, attempt=0
        )

    async def handle(self, arrival: Arrival) -> Sequence[Publication]:
        """Save the copy that a message of the copying queue requests."""
        try:
            job = read_copy_job(arrival)
            work = read_work(arrival.headers, self._clock.now())
        except (InvalidEvent, ValueError) as error:
            log.warning("sent_copy.invalid", problem=str(error), queue=arrival.queue)
            self._observer.settled(arrival.queue, None, "invalid")
            return [self._dead_letter(arrival, Reason.INVALID_EVENT, str(error))]
        begin_subject(self._tracer, job.subject)
        if work.attempts == 0 and work.turn is None:
            self._observer.timed(Stage.COPY_QUEUE, (self._clock.now() - job.sent_at).total_seconds())
        return await self._guarded(Order(arrival, job, work))

    async def _guarded(self, order: Order) -> list[Publication]:
        if has_returned_too_often(order.arrival):
            log.error("sent_copy.returned_too_often", returns=order.arrival.returns)
            return self._stranded(order, RETURNED_TOO_OFTEN)
        try:
            publications = await self._handle(order)
        except Unavailable:  # the message is kept until the dependency is back
            raise
        except Exception as error:  # a bug of ours must not make the message circulate for ever
            log.exception("sent_copy.unhandled")
            return self._stranded(order, type(error).__name__)
        self._observer.settled(order.arrival.queue, order.job.known_type, "done")
        return publications

    def _stranded(self, order: Order, detail: str) -> list[Publication]:
        """The copy failed, unless an operator replays it after the fix."""
        self._observer.settled(order.arrival.queue, order.job.known_type, "failed")
        why = Classification(Reason.INTERNAL_ERROR, Scope.PLATFORM, Action.FAIL)
        saved = SavedCopy(CopyOutcome.FAILED)
        result = self._results.ended(order.job, saved, None, attempt=order.work.attempts, work=order.work, why=why)
        return [result, self._dead_letter(order.arrival, Reason.INTERNAL_ERROR, detail)]

    def _dead_letter(self, arrival: Arrival, reason: Reason, detail: str) -> Publication:
        self._observer.buried(reason)
        return requeue.dead(arrival, self._topology, requeue.DeadLetterReason(reason, detail, self._clock.now()))

    async def _handle(self, order: Order) -> list[Publication]:
        job, work = order.job, order.work
        directory = self._snapshot.directory
        mailbox = _mailbox(directory, job)
        if mailbox is None:
            return self._again_or_never(order, _again(Reason.SENDER_UNAVAILABLE), None, None)
        verdict = copy_verdict(mailbox) or await self._autosave.verdict(job, mailbox)
        target = copy_target(job.account_id, mailbox)
        if verdict is not None or target is None:  # the mailbox changed after the letter was sent
            saved = SavedCopy(verdict or CopyOutcome.NO_IMAP)
            return [self._results.ended(job, saved, mailbox, attempt=work.attempts, work=work)]
        holder = Holder(job.account_id, job.mailbox_id)
        act_for(holder)
        place = self._in_hand.acquire(holder, work.turn)
        if isinstance(place, Backlogged):
            return self._wait(order, place)
        with place:
            return await self._with_place(order, Caller(mailbox, directory.version, target))

    async def _with_place(self, order: Order, caller: Caller) -> list[Publication]:
        job, work, mailbox, target = order.job, order.work, caller.mailbox, caller.target
        if obstacle := await self._sign_in.obstacle(caller):
            return self._without_sign_in(order, obstacle, mailbox)
        lane = self._lanes.of((job.account_id, job.mailbox_id), target, _CONNECTIONS)
        place = await lane.acquire(work.turn)
        if isinstance(place, CoolingDown):
            return self._cooling_down(order, place, mailbox)
        if isinstance(place, Backlogged):
            return self._wait(order, place)
        with place:
            async with self._alone(job) as is_alone:
                if not is_alone:
                    return [order.later(work, self._topology, retry_level_s(1))]
                saved = await self._save(target, job, order.arrival.body)
                if saved.trouble is None:  # the next copy need not wait for the ledger with the connection idle
                    place.release()
            await self._autosave.learn(job, mailbox, saved, is_first_look=order.is_first_look)
            if saved.trouble is None:
                return [self._results.ended(job, saved, mailbox, attempt=work.attempts + 1, work=work)]
            why = await self._judged(caller, lane, saved.trouble)
            return self._again_or_never(order, why, saved, mailbox)

    async def _judged(self, caller: Caller, lane: Lane, trouble: DeliveryFailure) -> Classification:
        """Classify the trouble; pause the lane when the mailbox's next copy would meet it too."""
        if refused := await self._sign_in.refused(caller, trouble):
            lane.pause(REFUSED_PAUSE_S, refused.reason)
            return refused
        why = classify_copy(trouble)
        if why.reason in SIGN_IN_REFUSED:  # the settings have changed meanwhile
            return replace(why, action=Action.RETRY)
        if why.action is Action.RETRY and trouble.phase in _WAYS_IN:
            lane.pause(_UNREACHABLE_PAUSE_S, why.reason)
        return why

    def _without_sign_in(self, order: Order, obstacle: Suspension | ImapRefusal, mailbox: Mailbox) -> list[Publication]:
        """Wait as letters do if the mailbox is suspended; give the copy up if IMAP alone refuses."""
        if isinstance(obstacle, Suspension):
            return self._wait_for_sign_in(order, obstacle, mailbox)
        return self._refused(order, obstacle.reason, mailbox)

    def _refused(self, order: Order, reason: Reason, mailbox: Mailbox) -> list[Publication]:
        """Give the copy up after a refused sign-in: providers lock mailboxes for retries."""
        why, saved = Classification(reason, Scope.MAILBOX, Action.FAIL), SavedCopy(CopyOutcome.FAILED)
        return [self._results.ended(order.job, saved, mailbox, attempt=order.work.attempts, work=order.work, why=why)]

    def _wait_for_sign_in(self, order: Order, suspension: Suspension, mailbox: Mailbox) -> list[Publication]:
        """Defer the copy as the mailbox's letters are: one more wrong password may lock the account."""
        work, now = order.work, self._clock.now()
        if is_expired(work.first_seen, now, self._limits.max_age_s):
            why = Classification(Reason.EXPIRED, Scope.MESSAGE, Action.FAIL)
            return [
                self._results.ended(
                    order.job, SavedCopy(CopyOutcome.FAILED), mailbox, attempt=work.attempts, work=work, why=why
                )
            ]
        why = Classification(suspension.reason, Scope.MAILBOX, Action.SUSPEND)
        level_s = waiting_level_s((now - work.first_seen).total_seconds())
        return self._put_off(order, work, why, level_s)

    def _wait(self, order: Order, denied: Backlogged) -> list[Publication]:
        """Other copies are before it."""
        work = replace(order.work, turn=denied.not_before)
        return [order.later(work, self._topology, pause_level_s(denied.wait_s))]

    def _cooling_down(self, order: Order, denied: CoolingDown, mailbox: Mailbox) -> list[Publication]:
        if denied.reason in SIGN_IN_REFUSED:
            return self._refused(order, denied.reason, mailbox)
        work = replace(order.work, turn=None)
        return self._put_off(order, work, _again(denied.reason), pause_level_s(denied.wait_s))

    @asynccontextmanager
    async def _alone(self, job: CopyJob) -> AsyncIterator[bool]:
        """A context that yields True when this task alone saves this copy while it lasts.

        Over IMAP, lookup and APPEND are two steps. A repeated event or a redelivery creates a second job for the same
        copy, and two jobs that both look before either appends would both append: in two workers, or in two tasks of
        one worker, when a changed mailbox has a new lane while the old one is still occupied.
        """
        key = copy_key(job.message_id)
        if not self._in_progress.begin(key, _ONE):
            yield False
            return
        try:
            claims = await self._ledger.claim(key, job.account_id, _ONE)
            try:
                yield isinstance(claims[0], Granted)
            finally:
                await asyncio.shield(self._ledger.release(key, _ONE))
        finally:
            self._in_progress.end(key, _ONE)

    async def _save(self, target: CopyTarget, job: CopyJob, letter: bytes) -> SavedCopy:
        with self._observer.stage(Stage.APPEND):
            return await self._sent_folder.save(
                target, job.message_id, job.date, letter, also_known_as=job.provider_message_id
            )

    def _again_or_never(
        self, order: Order, why: Classification, saved: SavedCopy | None, mailbox: Mailbox | None
    ) -> list[Publication]:
        """Retry later, until the copy is too old or a retry would not help."""
        job, work = order.job, order.work
        attempts = work.attempts + 1
        if why.action is Action.RETRY and is_expired(work.first_seen, self._clock.now(), self._limits.max_age_s):
            why = Classification(Reason.EXPIRED, Scope.MESSAGE, Action.FAIL)
        if why.action is Action.FAIL:
            saved = saved or SavedCopy(CopyOutcome.FAILED)
            return [self._results.ended(job, saved, mailbox, attempt=attempts, work=work, why=why)]
        again = Work(work.first_seen, attempts, last_reason=work.last_reason)
        return self._put_off(order, again, why, retry_level_s(attempts), saved)

    def _put_off(
        self, order: Order, work: Work, why: Classification, level_s: int, saved: SavedCopy | None = None
    ) -> list[Publication]:
        """Retry after `level_s` seconds; `work` still holds the previous reason."""
        later = order.later(replace(work, last_reason=why.reason.value), self._topology, level_s)
        return [*self._results.put_off(order.job, work, why, level_s, saved), later]


def _mailbox(directory: Directory, job: CopyJob) -> Mailbox | None:
    account = directory.account(job.account_id)
    if account is None:
        return None
    return next((mailbox for mailbox in account.mailboxes if mailbox.id == job.mailbox_id), None)


def _again(reason: Reason) -> Classification:
    return Classification(reason, Scope.MAILBOX, Action.RETRY)

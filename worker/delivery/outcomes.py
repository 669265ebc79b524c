"""Turns what happened to a letter into ledger records and results."""

from collections.abc import Sequence
from dataclasses import replace

import structlog

from worker.delivery import requeue
from worker.delivery.attempt import Attempt, Refusal, refusals_of, suspension_of
from worker.delivery.cancellation import finished
from worker.delivery.claims import HELD_WAIT_S
from worker.delivery.context import EventContext, LetterContext
from worker.delivery.mailboxes.backlog import Backlogged, Denied, Suspended
from worker.delivery.mailboxes.gate import MailboxSlot
from worker.delivery.messages import Publication
from worker.delivery.results import Facts, Final, Recorder
from worker.delivery.sent_copy.jobs import Accepted
from worker.delivery.sent_copy.stage import Copies
from worker.delivery.services import Services
from worker.delivery.uncertain import UncertainDeliveries
from worker.domain.backoff import PAUSE_LEVELS_S, pause_level_s, retry_level_s, waiting_level_s
from worker.domain.failure.classify import Classification
from worker.domain.results.events import to_message
from worker.domain.text import one_line
from worker.domain.transmission import DeliveryFailure, FailureKind, Reply, Transmission
from worker.domain.vocabulary import Action, Outcome, Phase, Reason, Scope
from worker.errors import FileUnavailable

log = structlog.get_logger(__name__)

_UNREACHABLE_PAUSE_S = 20  # shorter than the first retry, which must find the lane open again
_WAYS_IN = frozenset({Phase.CONNECT, Phase.GREETING, Phase.TLS})


class Outcomes:
    """Decides what to record and publish for each outcome of a letter."""

    def __init__(self, services: Services, recorder: Recorder, uncertain: UncertainDeliveries, copies: Copies) -> None:
        self._topology = services.rules.topology
        self._reporter = services.rules.reporter
        self._clock = services.clock
        self._observer = services.observer
        self._recorder = recorder
        self._uncertain = uncertain
        self._copies = copies

    async def of_transmission(self, attempt: Attempt, transmission: Transmission) -> list[Publication]:
        """Record an SMTP transaction in which some recipients were accepted, some deferred and some refused."""
        letter = attempt.letter
        self._observer.attempted(attempt.provider, transmission)
        # Also during shutdown: otherwise the server's answer would be lost.
        refusals = await finished(refusals_of(attempt, transmission)) if transmission.refused else []
        final = [refusal for refusal in refusals if refusal.why.action is Action.FAIL]
        not_yet = [refusal for refusal in refusals if refusal.why.action is not Action.FAIL]
        # Reported first: an uncertain delivery must be known whatever happens to the rest.
        publications: list[Publication] = []
        if transmission.uncertain:
            uncertain = attempt.positions(transmission.uncertain)
            publications += await self._uncertain.report(letter, uncertain, attempt.hand_over)
        finals = self._sent(attempt, transmission)
        message_id = attempt.composed.message_id
        finals += [self._failed(letter, r.facts(message_id, transmission.timings_s), r.why) for r in final]
        publications += await self._recorder.record(letter.context, finals)
        publications += await self._not_yet(attempt, not_yet, transmission)
        return publications + self._copy(attempt, transmission)

    def _sent(self, attempt: Attempt, transmission: Transmission) -> list[Final]:
        if not transmission.accepted:
            return []
        letter, now = attempt.letter, self._clock.now()
        replies: dict[int, Reply | None] = {attempt.envelope[a]: reply for a, reply in transmission.accepted.items()}
        facts = Facts(
            tuple(sorted(replies)),
            replies,
            attempt.composed.message_id,
            attempt.provider_message_id(transmission),
            timings_s=transmission.timings_s,
        )
        self._observer.delivered(letter.context, len(replies), now)
        code = next(iter(transmission.accepted.values())).code
        letter.log("mail.sent", facts.positions, code=code, is_connection_reused=transmission.is_connection_reused)
        return [Final(facts.positions, Outcome.SENT, to_message(self._reporter.sent(letter.context, facts, now)))]

    def _failed(self, letter: LetterContext, facts: Facts, why: Classification) -> Final:
        self._observer.ended(letter.context, Outcome.FAILED, why, len(facts.positions))
        letter.log("mail.failed", facts.positions, reason=why.reason.value, **_said(facts))
        event = self._reporter.failed(letter.context, facts, why, self._clock.now())
        return Final(facts.positions, Outcome.FAILED, to_message(event))

    def _copy(self, attempt: Attempt, transmission: Transmission) -> list[Publication]:
        mailbox = attempt.letter.context.sender.mailbox
        if mailbox is None or not transmission.accepted:
            return []
        positions = attempt.positions(transmission.accepted)
        is_whole = set(positions) == set(attempt.letter.planned.named)
        accepted = Accepted(positions, is_whole, attempt.provider_message_id(transmission))
        return self._copies.after_sending(attempt.letter.context, mailbox, attempt.composed, accepted)

    async def _not_yet(
        self, attempt: Attempt, refusals: Sequence[Refusal], transmission: Transmission
    ) -> list[Publication]:
        """Defer the recipients not accepted yet: one message for all of them, one result per reason."""
        if not refusals:
            return []
        letter = attempt.letter
        refusals = [await _reconsidered(attempt, refusal) for refusal in refusals]
        for refusal in refusals:
            await self._stop_mailbox(attempt, refusal)
        publications: list[Publication] = []
        is_attempt = any(refusal.why.action is Action.RETRY for refusal in refusals)
        attempts = letter.context.attempt if is_attempt else letter.context.work.attempts
        level_s = retry_level_s(attempts) if is_attempt else self._rest_s(letter, refusals[0].why)
        for refusal in refusals:
            facts = refusal.facts(attempt.composed.message_id, transmission.timings_s)
            publications.append(self._deferred(letter, facts, refusal.why, level_s))
        waiting = tuple(sorted(p for refusal in refusals for p in refusal.positions))
        await self._recorder.release(letter.context, waiting)
        return [*publications, self._later(letter, waiting, refusals[0], attempts, level_s)]

    def _rest_s(self, letter: LetterContext, why: Classification) -> int:
        if why.action is Action.SUSPEND:
            return waiting_level_s(letter.context.age_s)
        return pause_level_s(why.pause_s or 0)

    async def _stop_mailbox(self, attempt: Attempt, refusal: Refusal) -> None:
        """Suspend or pause the mailbox for a refusal that would hit its other letters as well."""
        slot, why = attempt.slot, refusal.why
        if why.action is Action.PAUSE:
            await slot.cool_down(why.pause_s or 0, why.reason)
        elif why.action is Action.RETRY and refusal.trouble.phase in _WAYS_IN:
            # Each letter would occupy one of the worker's places until the dead server times out. Only in this worker:
            # perhaps only this host cannot reach the server.
            slot.lane.pause(_UNREACHABLE_PAUSE_S, why.reason)
        elif why.action is Action.SUSPEND and isinstance(slot, MailboxSlot):
            await slot.suspend(suspension_of(attempt.letter.context, slot, refusal, self._clock.now()))

    def _deferred(self, letter: LetterContext, facts: Facts, why: Classification, level_s: int) -> Publication:
        self._observer.ended(letter.context, Outcome.DEFERRED, why, len(facts.positions))
        letter.log("mail.deferred", facts.positions, reason=why.reason.value, wait_s=level_s, **_said(facts))
        event = self._reporter.deferred(
            letter.context, facts, why, self._clock.now(), attempt=letter.context.attempt, wait_s=level_s
        )
        return self._reporter.publication(event)

    def _later(
        self, letter: LetterContext, positions: tuple[int, ...], refusal: Refusal, attempts: int, level_s: int
    ) -> Publication:
        reply = refusal.trouble.reply
        words = f"{reply.code} {reply.enhanced or ''} {reply.text}" if reply else refusal.trouble.detail
        work = letter.work(positions, attempts=attempts, reason=refusal.why.reason.value, reply=one_line(words))
        return requeue.later(letter.context.arrival, work.headers(), self._topology, level_s)

    def denied(self, letter: LetterContext, denied: Denied) -> list[Publication]:
        """The letter waits for its mailbox; this is no attempt. Reported once, and never for a backlog."""
        if isinstance(denied, Backlogged):
            work = letter.work(letter.positions, turn=denied.not_before, lane=denied.backlog)
            now = self._clock.now()
            return [requeue.until_turn(letter.context.arrival, work.headers(), self._topology, denied.not_before, now)]
        scope = Scope.MAILBOX if letter.context.sender.mailbox else Scope.PLATFORM
        if isinstance(denied, Suspended):
            why = Classification(denied.reason, scope, Action.SUSPEND)
            return self._waiting(letter, why, waiting_level_s(letter.context.age_s))
        why = Classification(denied.reason, scope, Action.PAUSE)
        return self._waiting(letter, why, pause_level_s(denied.wait_s))

    def _waiting(self, letter: LetterContext, why: Classification, level_s: int) -> list[Publication]:
        work = letter.work(letter.positions, reason=why.reason.value)
        later = requeue.later(letter.context.arrival, work.headers(), self._topology, level_s)
        if letter.context.work.last_reason == why.reason.value:
            return [later]
        self._observer.ended(letter.context, Outcome.DEFERRED, why, len(letter.positions))
        letter.log("mail.deferred", letter.positions, reason=why.reason.value, wait_s=level_s)
        return [self._deferred_waiting(letter.context, letter.positions, why, level_s), later]

    def held(self, letter: LetterContext) -> list[Publication]:
        """Another task or worker holds the letter: it waits until that one is done."""
        work = letter.work(letter.positions)
        return [requeue.later(letter.context.arrival, work.headers(), self._topology, HELD_WAIT_S)]

    def claim_lost(self, letter: LetterContext) -> list[Publication]:
        """Another worker declared this one dead and owns the letter now."""
        log.warning("mail.claim_lost")
        return self.held(letter)

    def _deferred_waiting(
        self, context: EventContext, positions: tuple[int, ...], why: Classification, level_s: int
    ) -> Publication:
        event = self._reporter.deferred(
            context, Facts(positions), why, self._clock.now(), attempt=context.work.attempts, wait_s=level_s
        )
        return self._reporter.publication(event)

    async def without_file(self, letter: LetterContext, error: FileUnavailable) -> list[Publication]:
        """A file could not be downloaded: defer the letter, or fail it if a retry cannot help."""
        positions = letter.positions
        action = Action.FAIL if error.is_permanent else Action.RETRY
        why = Classification(Reason.FILE_UNAVAILABLE, Scope.MESSAGE, action)
        facts = Facts(positions, detail=str(error))
        if error.is_permanent:
            return await self._recorder.record(letter.context, [self._failed(letter, facts, why)])
        level_s = retry_level_s(letter.context.attempt)
        deferred = self._deferred(letter, facts, why, level_s)
        refusal = Refusal(why, DeliveryFailure(Phase.CONNECT, FailureKind.CONNECT, detail=str(error)))
        await self._recorder.release(letter.context, positions)
        return [deferred, self._later(letter, positions, refusal, letter.context.attempt, level_s)]

    async def failed(self, letter: LetterContext, why: Classification, detail: str | None = None) -> list[Publication]:
        """Fail the letter without another attempt, for a reason of our own. The recipients must be claimed."""
        facts = Facts(letter.positions, detail=detail)
        return await self._recorder.record(letter.context, [self._failed(letter, facts, why)])

    def waiting_for_sender(self, context: EventContext, why: Classification, level_s: int) -> list[Publication]:
        """The snapshot does not know the sender yet; nothing is planned, so the work stays unchanged."""
        since = context.work.sender_missing_since or context.began_at
        work = replace(context.work, last_reason=why.reason.value, sender_missing_since=since, turn=None)
        later = requeue.later(context.arrival, work.headers(), self._topology, level_s)
        if context.work.sender_missing_since is not None:
            return [later]
        self._observer.ended(context, Outcome.DEFERRED, why, len(context.wanted()))
        log.info("mail.deferred", reason=why.reason.value, wait_s=level_s)
        return [self._deferred_waiting(context, context.wanted(), why, level_s), later]


async def _reconsidered(attempt: Attempt, refusal: Refusal) -> Refusal:
    """A revoked token with a successor does not suspend the mailbox: the letter is retried with the new one."""
    slot, why = attempt.slot, refusal.why
    if why.reason is not Reason.AUTH_TOKEN_REVOKED or not isinstance(slot, MailboxSlot):
        return refusal
    if not await slot.has_newer_settings(why.reason):
        return refusal
    return replace(refusal, why=replace(why, action=Action.PAUSE, pause_s=PAUSE_LEVELS_S[0]))


def _said(facts: Facts) -> dict[str, object]:
    """What the server said, for the log: its codes, never its text, which may contain addresses."""
    reply = next((reply for reply in facts.replies.values() if reply), None)
    return {"code": reply.code, "enhanced": reply.enhanced} if reply else {}

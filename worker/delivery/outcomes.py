"""From what happened to a letter to what is recorded and published of it."""

from collections.abc import Sequence
from dataclasses import replace

import structlog

from worker.delivery import requeueing
from worker.delivery.attempt import Attempt
from worker.delivery.case import Case, LetterCase
from worker.delivery.copies import Copies
from worker.delivery.copy_jobs import Accepted
from worker.delivery.doubts import Doubts
from worker.delivery.facts import Facts
from worker.delivery.finishing import finished
from worker.delivery.messages import Publication
from worker.delivery.observing import Observer
from worker.delivery.ports import Clock
from worker.delivery.recording import Final, Recorder
from worker.delivery.refusals import Refusal, refusals_of
from worker.delivery.reporting import Reporter
from worker.delivery.stopping import suspension_of
from worker.delivery.ways import MailboxWay
from worker.domain.backoff import PAUSE_LEVELS_S, pause_level_s, retry_level_s, waiting_level_s
from worker.domain.classification import Classification
from worker.domain.message import to_message
from worker.domain.text import one_line
from worker.domain.topology import Topology
from worker.domain.transmission import Fault, Reply, Transmission, Trouble
from worker.domain.vocabulary import Action, Outcome, Phase, Reason, Scope
from worker.errors import FileUnavailable

log = structlog.get_logger(__name__)

_UNREACHABLE_PAUSE_S = 20  # shorter than the first retry, which must find the lane open again
_WAYS_IN = frozenset({Phase.CONNECT, Phase.GREETING, Phase.TLS})


class Outcomes:
    """Says what is to be recorded and published because of what happened to a letter."""

    def __init__(
        self,
        *,
        recorder: Recorder,
        doubts: Doubts,
        copies: Copies,
        reporter: Reporter,
        topology: Topology,
        clock: Clock,
        observer: Observer,
    ) -> None:
        self._recorder = recorder
        self._doubts = doubts
        self._copies = copies
        self._reporter = reporter
        self._topology = topology
        self._clock = clock
        self._observer = observer

    async def of_transmission(self, attempt: Attempt, transmission: Transmission) -> list[Publication]:
        """What follows from an SMTP transaction: some recipients may have it, some not yet, some never."""
        item = attempt.item
        self._observer.attempted(attempt.provider, transmission)
        # To its end also when the worker is told to stop: else what the server said would be lost.
        refusals = await finished(refusals_of(attempt, transmission)) if transmission.refused else []
        final = [refusal for refusal in refusals if refusal.why.action is Action.FAIL]
        not_yet = [refusal for refusal in refusals if refusal.why.action is not Action.FAIL]
        # The doubt is noted first: it must be known whatever happens to the rest.
        in_doubt = attempt.positions(transmission.uncertain)
        publications = await self._doubts.arise(item, in_doubt, attempt.hand_over) if in_doubt else []
        finals = self._sent(attempt, transmission)
        message_id = attempt.composed.message_id
        finals += [self._failed(item, r.facts(message_id, transmission.timings_s), r.why) for r in final]
        publications += await self._recorder.record(item.case, finals)
        publications += await self._not_yet(attempt, not_yet, transmission)
        return publications + self._copy(attempt, transmission)

    def _sent(self, attempt: Attempt, transmission: Transmission) -> list[Final]:
        if not transmission.accepted:
            return []
        item, now = attempt.item, self._clock.now()
        of_address = attempt.positions_by_address()
        replies: dict[int, Reply | None] = {of_address[a]: reply for a, reply in transmission.accepted.items()}
        facts = Facts(
            tuple(sorted(replies)),
            replies,
            attempt.composed.message_id,
            attempt.provider_message_id(transmission),
            timings_s=transmission.timings_s,
        )
        self._observer.delivered(item.case, len(replies), now)
        code = next(iter(transmission.accepted.values())).code
        item.log("mail.sent", facts.positions, code=code, is_connection_reused=transmission.is_connection_reused)
        return [Final(facts.positions, Outcome.SENT, self._reporter.sent(item.case, facts, now))]

    def _failed(self, item: LetterCase, facts: Facts, why: Classification) -> Final:
        self._observer.ended(item.case, Outcome.FAILED, why, len(facts.positions))
        item.log("mail.failed", facts.positions, reason=why.reason.value, **_said(facts))
        event = self._reporter.failed(item.case, facts, why, self._clock.now())
        return Final(facts.positions, Outcome.FAILED, to_message(event))

    def _copy(self, attempt: Attempt, transmission: Transmission) -> list[Publication]:
        mailbox = attempt.item.case.sender.mailbox
        if mailbox is None or not transmission.accepted:
            return []
        positions = attempt.positions(transmission.accepted)
        is_whole = set(positions) == set(attempt.item.letter.named)
        accepted = Accepted(positions, is_whole, attempt.provider_message_id(transmission))
        return self._copies.after_sending(attempt.item.case, mailbox, attempt.composed, accepted)

    async def _not_yet(
        self, attempt: Attempt, refusals: Sequence[Refusal], transmission: Transmission
    ) -> list[Publication]:
        """Let those wait who were not accepted yet: one message for all of them, a result for each reason."""
        if not refusals:
            return []
        item = attempt.item
        refusals = [await _reconsidered(attempt, refusal) for refusal in refusals]
        for refusal in refusals:
            await self._stop_mailbox(attempt, refusal)
        publications: list[Publication] = []
        is_attempt = any(refusal.why.action is Action.RETRY for refusal in refusals)
        attempts = item.case.attempt if is_attempt else item.case.work.attempts
        level_s = retry_level_s(attempts) if is_attempt else self._rest_s(item, refusals[0].why)
        for refusal in refusals:
            facts = refusal.facts(attempt.composed.message_id, transmission.timings_s)
            publications.append(self._deferred(item, facts, refusal.why, level_s))
        everybody = tuple(sorted(p for refusal in refusals for p in refusal.positions))
        await self._recorder.release(item.case, everybody)
        return [*publications, self._later(item, everybody, refusals[0], attempts, level_s)]

    def _rest_s(self, item: LetterCase, why: Classification) -> int:
        if why.action is Action.SUSPEND:
            return waiting_level_s(item.case.age_s)
        return pause_level_s(why.pause_s or 0)

    async def _stop_mailbox(self, attempt: Attempt, refusal: Refusal) -> None:
        """What concerns the mailbox stops the mailbox: its other letters must not run into the same wall."""
        way, why = attempt.way, refusal.why
        if why.action is Action.PAUSE:
            await way.rest(why.pause_s or 0, why.reason)
        elif why.action is Action.RETRY and refusal.trouble.phase in _WAYS_IN:
            # Each letter would hold a place of the worker's until a dead server's time is out. Only in this worker:
            # it may be this host that has no way there.
            way.lane.pause(_UNREACHABLE_PAUSE_S, why.reason)
        elif why.action is Action.SUSPEND and isinstance(way, MailboxWay):
            await way.suspend(suspension_of(attempt.item.case, way, refusal, self._clock.now()))

    def _deferred(self, item: LetterCase, facts: Facts, why: Classification, level_s: int) -> Publication:
        self._observer.ended(item.case, Outcome.DEFERRED, why, len(facts.positions))
        item.log("mail.deferred", facts.positions, reason=why.reason.value, wait_s=level_s, **_said(facts))
        event = self._reporter.deferred(
            item.case, facts, why, self._clock.now(), attempt=item.case.attempt, wait_s=level_s
        )
        return self._reporter.publication(event)

    def _later(
        self, item: LetterCase, positions: tuple[int, ...], refusal: Refusal, attempts: int, level_s: int
    ) -> Publication:
        reply = refusal.trouble.reply
        words = f"{reply.code} {reply.enhanced or ''} {reply.text}" if reply else refusal.trouble.detail
        work = item.work(positions, attempts=attempts, reason=refusal.why.reason.value, reply=one_line(words))
        return requeueing.later(item.case.arrival, work.headers(), self._topology, level_s)

    def waiting(
        self, item: LetterCase, positions: tuple[int, ...], why: Classification, level_s: int
    ) -> list[Publication]:
        """The letter waits for its mailbox, without an attempt; that is told once, not at every look."""
        work = item.work(positions, reason=why.reason.value)
        later = requeueing.later(item.case.arrival, work.headers(), self._topology, level_s)
        if item.case.work.last_reason == why.reason.value:
            return [later]
        self._observer.ended(item.case, Outcome.DEFERRED, why, len(positions))
        item.log("mail.deferred", positions, reason=why.reason.value, wait_s=level_s)
        return [self._told_of_waiting(item.case, positions, why, level_s), later]

    def _told_of_waiting(
        self, case: Case, positions: tuple[int, ...], why: Classification, level_s: int
    ) -> Publication:
        event = self._reporter.deferred(
            case, Facts(positions), why, self._clock.now(), attempt=case.work.attempts, wait_s=level_s
        )
        return self._reporter.publication(event)

    async def without_file(self, item: LetterCase, error: FileUnavailable) -> list[Publication]:
        """A file could not be downloaded: later perhaps, or never."""
        positions = item.letter.envelope
        action = Action.FAIL if error.is_permanent else Action.RETRY
        why = Classification(Reason.FILE_UNAVAILABLE, Scope.MESSAGE, action)
        facts = Facts(positions, detail=str(error))
        if error.is_permanent:
            return await self._recorder.record(item.case, [self._failed(item, facts, why)])
        level_s = retry_level_s(item.case.attempt)
        deferred = self._deferred(item, facts, why, level_s)
        refusal = Refusal(why, Trouble(Phase.CONNECT, Fault.CONNECT, detail=str(error)))
        await self._recorder.release(item.case, positions)
        return [deferred, self._later(item, positions, refusal, item.case.attempt, level_s)]

    async def failed(
        self, item: LetterCase, why: Classification, positions: tuple[int, ...], detail: str | None = None
    ) -> list[Publication]:
        """No further attempt, for a reason of our own. The positions must be claimed."""
        return await self._recorder.record(item.case, [self._failed(item, Facts(positions, detail=detail), why)])

    async def expired(self, item: LetterCase, positions: tuple[int, ...]) -> list[Publication]:
        """The letter is too old to be tried again; the last real reason is told with it."""
        work = item.case.work
        last = ": ".join(part for part in (work.last_reason, work.last_reply) if part)
        why = Classification(Reason.EXPIRED, Scope.MESSAGE, Action.FAIL)
        return await self.failed(item, why, positions, f"last: {last}" if last else None)

    def waiting_for_sender(self, case: Case, why: Classification, level_s: int) -> list[Publication]:
        """The snapshot does not know who is to send; nothing is planned yet, so the work stays as it was."""
        since = case.work.sender_missing_since or case.began_at
        work = replace(case.work, last_reason=why.reason.value, sender_missing_since=since, turn=None)
        later = requeueing.later(case.arrival, work.headers(), self._topology, level_s)
        if case.work.sender_missing_since is not None:
            return [later]
        self._observer.ended(case, Outcome.DEFERRED, why, len(case.wanted()))
        log.info("mail.deferred", reason=why.reason.value, wait_s=level_s)
        return [self._told_of_waiting(case, case.wanted(), why, level_s), later]


async def _reconsidered(attempt: Attempt, refusal: Refusal) -> Refusal:
    """A revoked token is no reason to stop a mailbox that has another one by now: the letter is tried with that."""
    way, why = attempt.way, refusal.why
    if why.reason is not Reason.AUTH_TOKEN_REVOKED or not isinstance(way, MailboxWay):
        return refusal
    if not await way.has_newer_settings(why.reason):
        return refusal
    return replace(refusal, why=replace(why, action=Action.PAUSE, pause_s=PAUSE_LEVELS_S[0]))


def _said(facts: Facts) -> dict[str, object]:
    """What the server said, for the log: its codes, never its text, which may repeat addresses."""
    reply = next((reply for reply in facts.replies.values() if reply), None)
    return {"code": reply.code, "enhanced": reply.enhanced} if reply else {}

"""One event's journey: read it, find the sender, plan the letters, and take each to its outcome."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import cast

import structlog

from worker.delivery import requeueing
from worker.delivery.aside import aside
from worker.delivery.burials import Burials, has_returned_too_often
from worker.delivery.case import Case, LetterCase
from worker.delivery.finishing import cancellations
from worker.delivery.invalid_events import invalid_result
from worker.delivery.letter_delivery import LetterDelivery
from worker.delivery.messages import Arrival, Publication
from worker.delivery.observing import Observer, Stage
from worker.delivery.outcomes import Outcomes
from worker.delivery.ports import Clock, SnapshotService
from worker.delivery.reading import is_large, read_event
from worker.delivery.reporting import Reporter
from worker.delivery.tracing import Subject, Tracer, begin_subject
from worker.delivery.unfinished import Unfinished
from worker.domain.backoff import PAUSE_LEVELS_S, retry_level_s, waiting_level_s
from worker.domain.classification import Classification
from worker.domain.event import Data, Event, LetterEvent
from worker.domain.events import CommentCreated, TaskCreated
from worker.domain.letters import PlannedLetter
from worker.domain.planning import distinct_positions, plan, unreadable
from worker.domain.providers import provider_of
from worker.domain.resolution import resolve
from worker.domain.topology import Topology
from worker.domain.trace_context import TraceContext
from worker.domain.vocabulary import Action, Reason, Scope
from worker.domain.work import FIRST_SEEN, RECIPIENTS, Work, read_work
from worker.errors import ForeignEvent, InvalidEvent, Unavailable

log = structlog.get_logger(__name__)

LETTERS_PER_MESSAGE = 8
"""An event with more letters is split: a message must not be held for as long as a thousand letters take."""


class Pipeline:
    """Handles the messages of the work queue."""

    def __init__(
        self,
        *,
        snapshot: SnapshotService,
        letters: LetterDelivery,
        burials: Burials,
        outcomes: Outcomes,
        reporter: Reporter,
        topology: Topology,
        clock: Clock,
        observer: Observer,
        tracer: Tracer,
        unfinished: Unfinished,
        unknown_sender_wait_s: float,
    ) -> None:
        self._snapshot = snapshot
        self._letters = letters
        self._burials = burials
        self._outcomes = outcomes
        self._reporter = reporter
        self._topology = topology
        self._clock = clock
        self._observer = observer
        self._tracer = tracer
        self._unfinished = unfinished
        self._unknown_sender_wait_s = unknown_sender_wait_s

    async def handle(self, arrival: Arrival) -> Sequence[Publication]:
        """Deal with one message of the work queue, as `messages.Handler` says."""
        now = self._clock.now()
        try:
            event = _letter_event(await read_event(arrival))
            work = _checked(read_work(arrival.headers, now), event)
        except (InvalidEvent, ValueError) as error:
            return await self._invalid(arrival, str(error))
        begin_subject(self._tracer, _subject(event))
        if FIRST_SEEN not in arrival.headers:
            self._observer.timed(Stage.QUEUE, (now - event.time).total_seconds())
        with self._unfinished.working_on(event.time):
            publications = await self._guarded(arrival, event, work)
        self._note_put_off(event, publications)
        return publications

    def _note_put_off(self, event: LetterEvent, publications: Sequence[Publication]) -> None:
        now = self._clock.now()
        for publication in publications:
            if wait_s := self._topology.delay_s(publication.routing_key):
                self._unfinished.put_off(event.time, now + timedelta(seconds=wait_s))

    async def _guarded(self, arrival: Arrival, event: LetterEvent, work: Work) -> Sequence[Publication]:
        if has_returned_too_often(arrival):
            return self._burials.of_returned(arrival, event, work)
        try:
            return await self._deal_with(arrival, event, work)
        except Unavailable:
            raise
        except ForeignEvent as error:
            return await self._foreign(arrival, event, error)
        except Exception as error:  # noqa: BLE001 - whatever our mistake is, the message must not go round for ever
            return self._burials.of_mistake(arrival, event, error, work, requeueing.own_headers(arrival))

    async def _deal_with(self, arrival: Arrival, event: LetterEvent, work: Work) -> list[Publication]:
        case = await self._resolved(arrival, event, work)
        reason = case.resolution.reason
        if reason is Reason.SENDER_UNAVAILABLE:
            publications = await self._without_sender(case)
        elif reason is not None:
            publications = await self._letters.fail(case, Classification(reason, Scope.MESSAGE, Action.FAIL))
        else:
            mailbox = case.sender.mailbox
            most = provider_of(mailbox.smtp.host).recipients_per_letter if mailbox else None
            letters = plan(event.data, case.sender.account.settings, work.mode, work.recipients, most)
            problems = unreadable(event.data, case.wanted())
            if len(letters) + len(problems) > 1 and FIRST_SEEN not in arrival.headers:
                await self._letters.require_own(event)  # one letter meets its recipients' entries by itself
            refused = await self._refused(case, problems)
            if len(letters) > LETTERS_PER_MESSAGE:
                return refused + self._split(case, letters)
            publications = refused + await self._delivered([LetterCase(case, letter) for letter in letters])
        self._observer.settled(arrival.queue, event.type, "done")
        return publications

    async def _refused(self, case: Case, problems: Mapping[str, tuple[int, ...]]) -> list[Publication]:
        """The end of those to whose addresses no letter can be sent; the others get theirs all the same."""
        publications: list[Publication] = []
        for problem, positions in problems.items():
            publications += await self._letters.refuse(case, positions, problem)
        return publications

    async def _delivered(self, items: Sequence[LetterCase]) -> list[Publication]:
        """Take each letter as far as it comes. What came of one is published whatever became of the others."""
        outcomes = await self._outcomes_of(items)
        publications: list[Publication] = []
        put_off: list[tuple[LetterCase, Unavailable]] = []
        foreign: ForeignEvent | None = None
        for item, outcome in zip(items, outcomes, strict=True):
            case = item.case
            if isinstance(outcome, Unavailable):
                put_off.append((item, outcome))
            elif isinstance(outcome, ForeignEvent):
                foreign = outcome
            elif isinstance(outcome, Exception):
                work = item.work(item.letter.envelope)
                publications += self._burials.of_mistake(case.arrival, case.event, outcome, work, work.headers())
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                publications += outcome
        if foreign is not None:  # once for all of them, and beside what came of others
            publications += await self._foreign(items[0].case.arrival, items[0].case.event, foreign)
        if put_off and not publications:
            raise put_off[0][1]  # nothing has happened yet: the whole message can be tried again
        return publications + [self._put_off(item) for item, _ in put_off]

    async def _outcomes_of(self, items: Sequence[LetterCase]) -> Sequence[list[Publication] | BaseException]:
        """What came of each letter. Most events have one, which needs no task of its own."""
        if len(items) != 1:
            return await asyncio.gather(*map(self._letters.deliver, items), return_exceptions=True)
        outcome: list[Publication] | Exception
        before = cancellations()
        try:
            outcome = await self._letters.deliver(items[0])
        except Exception as error:  # noqa: BLE001 - told as it is of one of several
            outcome = error
        if cancellations() > before:  # put off by what must not be broken off: see `finishing`
            raise asyncio.CancelledError
        return [outcome]

    def _put_off(self, item: LetterCase) -> Publication:
        work = item.work(item.letter.envelope, turn=item.case.work.turn, lane=item.case.work.lane)
        return requeueing.later(item.case.arrival, work.headers(), self._topology, PAUSE_LEVELS_S[0])

    async def _resolved(self, arrival: Arrival, event: LetterEvent, work: Work) -> Case:
        """Find the sender; when the snapshot does not know who it should, a newer one may."""
        with self._observer.stage(Stage.RESOLVE):
            case = self._resolve(arrival, event, work)
            if case.resolution.reason is Reason.SENDER_UNAVAILABLE:
                await self._snapshot.refresh()
                case = self._resolve(arrival, event, work)
        return case

    def _resolve(self, arrival: Arrival, event: LetterEvent, work: Work) -> Case:
        directory = self._snapshot.directory
        now = self._clock.now()
        resolution = resolve(directory.account(event.data.account_id), event.data, now)
        return Case(arrival, event, work, directory, resolution, now)

    async def _without_sender(self, case: Case) -> list[Publication]:
        """Wait some minutes for a newer snapshot, or as long as letters wait where the account is there but broken."""
        is_left_out = case.directory.is_left_out(case.event.data.account_id)
        if self._letters.is_expired(case.work):
            return await self._letters.fail(case, Classification(Reason.EXPIRED, Scope.MESSAGE, Action.FAIL))
        since = case.work.sender_missing_since or case.began_at
        if not is_left_out and (case.began_at - since).total_seconds() >= self._unknown_sender_wait_s:
            return await self._letters.fail(case, Classification(Reason.SENDER_UNAVAILABLE, Scope.MESSAGE, Action.FAIL))
        level_s = waiting_level_s(case.age_s) if is_left_out else retry_level_s(1)
        why = Classification(Reason.SENDER_UNAVAILABLE, Scope.MESSAGE, Action.RETRY)
        return self._outcomes.waiting_for_sender(case, why, level_s)

    def _split(self, case: Case, letters: Sequence[PlannedLetter]) -> list[Publication]:
        """Each part names its recipients and the mode of the plan, which stays even if the account changes it."""
        parts = []
        for first in range(0, len(letters), LETTERS_PER_MESSAGE):
            positions = tuple(p for x in letters[first : first + LETTERS_PER_MESSAGE] for p in x.envelope)
            work = replace(case.work, mode=letters[0].mode, recipients=positions)
            parts.append(requeueing.part(case.arrival, work))
        log.info("event.split", letters=len(letters), parts=len(parts))
        self._observer.settled(case.arrival.queue, case.event.type, "split")
        return parts

    async def _foreign(self, arrival: Arrival, event: LetterEvent, error: ForeignEvent) -> list[Publication]:
        """Another account's event has its identity: nothing of either may pass for the other's."""
        return await self._invalid(arrival, str(error), f"invalid/{event.data.account_id}")

    async def _invalid(self, arrival: Arrival, problem: str, stage: str = "invalid") -> list[Publication]:
        """Keep it for an operator, and tell whoever waits for it, as far as it can be read."""
        now = self._clock.now()
        log.warning("event.invalid", problem=problem, queue=arrival.queue)
        self._observer.settled(arrival.queue, None, "invalid")
        self._observer.buried(Reason.INVALID_EVENT)
        buried = requeueing.dead(arrival, self._topology, requeueing.Death(Reason.INVALID_EVENT, problem, now))
        salvaged = arrival, self._reporter.source, problem, now, stage
        result = await aside(invalid_result, *salvaged) if is_large(arrival) else invalid_result(*salvaged)
        return [buried] if result is None else [self._reporter.publication(result), buried]


def _letter_event(event: Event[Data]) -> LetterEvent:
    if not isinstance(event.data, CommentCreated | TaskCreated):
        raise InvalidEvent(f"type: {event.type.value} asks for no letter")
    return cast("LetterEvent", event)


def _subject(event: LetterEvent) -> Subject:
    trace = TraceContext(event.traceparent, event.tracestate)
    return Subject(event.id, event.type.value, event.data.account_id, trace)


def _checked(work: Work, event: LetterEvent) -> Work:
    """The work, if it is for recipients that the event has: else nobody would get a letter, and nobody would know."""
    if work.recipients is not None and not set(work.recipients) <= set(distinct_positions(event.data.recipients)):
        raise InvalidEvent(f"{RECIPIENTS}: the event has no such recipients")
    return work

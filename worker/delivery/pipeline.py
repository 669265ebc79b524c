"""One event's journey: parse it, find the sender, plan the letters, and take each to its outcome."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import cast

import structlog

from worker.delivery import requeue
from worker.delivery.aside import aside, is_large, read_event
from worker.delivery.cancellation import cancellations
from worker.delivery.context import EventContext, LetterContext
from worker.delivery.dead_letters import DeadLetters, has_returned_too_often, invalid_result
from worker.delivery.instrumentation import Stage, Subject, Unfinished, begin_subject
from worker.delivery.letter import LetterDelivery
from worker.delivery.messages import Arrival, Publication
from worker.delivery.outcomes import Outcomes
from worker.delivery.services import Services
from worker.domain.backoff import PAUSE_LEVELS_S, retry_level_s, waiting_level_s
from worker.domain.events.cloudevents import TraceContext
from worker.domain.events.models import CommentCreated, Data, Event, LetterEvent, TaskCreated
from worker.domain.failure.classify import Classification
from worker.domain.letter.model import PlannedLetter
from worker.domain.letter.plan import distinct_positions, plan, unreadable
from worker.domain.providers import provider_of
from worker.domain.snapshot.resolution import resolve
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
        services: Services,
        letters: LetterDelivery,
        outcomes: Outcomes,
        dead_letters: DeadLetters,
        unfinished: Unfinished,
    ) -> None:
        self._snapshot = services.snapshot
        self._clock = services.clock
        self._observer = services.observer
        self._tracer = services.tracer
        self._topology = services.rules.topology
        self._reporter = services.rules.reporter
        self._unknown_sender_wait_s = services.rules.unknown_sender_wait_s
        self._letters = letters
        self._outcomes = outcomes
        self._dead_letters = dead_letters
        self._unfinished = unfinished

    async def handle(self, arrival: Arrival) -> Sequence[Publication]:
        """Handle one message of the work queue, as `messages.Handler` says."""
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
            return self._dead_letters.of_returned(arrival, event, work)
        try:
            return await self._deal_with(arrival, event, work)
        except Unavailable:
            raise
        except ForeignEvent as error:
            return await self._foreign(arrival, event, error)
        except Exception as error:  # noqa: BLE001 - whatever the bug, the message must not circulate for ever
            return self._dead_letters.of_mistake(arrival, event, error, work, requeue.own_headers(arrival))

    async def _deal_with(self, arrival: Arrival, event: LetterEvent, work: Work) -> list[Publication]:
        context = await self._resolved(arrival, event, work)
        reason = context.resolution.reason
        if reason is Reason.SENDER_UNAVAILABLE:
            publications = await self._without_sender(context)
        elif reason is not None:
            publications = await self._letters.fail(context, Classification(reason, Scope.MESSAGE, Action.FAIL))
        else:
            mailbox = context.sender.mailbox
            most = provider_of(mailbox.smtp.host).recipients_per_letter if mailbox else None
            letters = plan(event.data, context.sender.account.settings, work.mode, work.recipients, most)
            problems = unreadable(event.data, context.wanted())
            if len(letters) + len(problems) > 1 and FIRST_SEEN not in arrival.headers:
                await self._letters.require_own(event)  # a single letter meets its recipients' entries by itself
            refused = await self._refused(context, problems)
            if len(letters) > LETTERS_PER_MESSAGE:
                return refused + self._split(context, letters)
            publications = refused + await self._delivered([LetterContext(context, letter) for letter in letters])
        self._observer.settled(arrival.queue, event.type, "done")
        return publications

    async def _refused(self, context: EventContext, problems: Mapping[str, tuple[int, ...]]) -> list[Publication]:
        """Fail the recipients whose addresses rule out a letter; the others still get theirs."""
        publications: list[Publication] = []
        for problem, positions in problems.items():
            publications += await self._letters.refuse(context, positions, problem)
        return publications

    async def _delivered(self, items: Sequence[LetterContext]) -> list[Publication]:
        """Take each letter as far as it can go. Publishes one letter's results whatever happened to the others."""
        outcomes = await self._outcomes_of(items)
        publications: list[Publication] = []
        put_off: list[tuple[LetterContext, Unavailable]] = []
        foreign: ForeignEvent | None = None
        for letter, outcome in zip(items, outcomes, strict=True):
            context = letter.context
            if isinstance(outcome, Unavailable):
                put_off.append((letter, outcome))
            elif isinstance(outcome, ForeignEvent):
                foreign = outcome
            elif isinstance(outcome, Exception):
                work = letter.work(letter.planned.envelope)
                publications += self._dead_letters.of_mistake(
                    context.arrival, context.event, outcome, work, work.headers()
                )
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                publications += outcome
        if foreign is not None:  # once for all of them, beside the others' results
            publications += await self._foreign(items[0].context.arrival, items[0].context.event, foreign)
        if put_off and not publications:
            raise put_off[0][1]  # nothing has happened yet: the whole message can be retried
        return publications + [self._put_off(letter) for letter, _ in put_off]

    async def _outcomes_of(self, items: Sequence[LetterContext]) -> Sequence[list[Publication] | BaseException]:
        """The outcome of each letter. Most events have one, which needs no task of its own."""
        if len(items) != 1:
            return await asyncio.gather(*map(self._letters.deliver, items), return_exceptions=True)
        outcome: list[Publication] | Exception
        before = cancellations()
        try:
            outcome = await self._letters.deliver(items[0])
        except Exception as error:  # noqa: BLE001 - handled as one letter's of several would be
            outcome = error
        if cancellations() > before:  # deferred by work that must not be interrupted: see `cancellation`
            raise asyncio.CancelledError
        return [outcome]

    def _put_off(self, letter: LetterContext) -> Publication:
        work = letter.work(letter.planned.envelope, turn=letter.context.work.turn, lane=letter.context.work.lane)
        return requeue.later(letter.context.arrival, work.headers(), self._topology, PAUSE_LEVELS_S[0])

    async def _resolved(self, arrival: Arrival, event: LetterEvent, work: Work) -> EventContext:
        """Find the sender; poll for a newer snapshot when this one lacks it but should not."""
        with self._observer.stage(Stage.RESOLVE):
            context = self._resolve(arrival, event, work)
            if context.resolution.reason is Reason.SENDER_UNAVAILABLE:
                await self._snapshot.refresh()
                context = self._resolve(arrival, event, work)
        return context

    def _resolve(self, arrival: Arrival, event: LetterEvent, work: Work) -> EventContext:
        directory = self._snapshot.directory
        now = self._clock.now()
        resolution = resolve(directory.account(event.data.account_id), event.data, now)
        return EventContext(arrival, event, work, directory, resolution, now)

    async def _without_sender(self, context: EventContext) -> list[Publication]:
        """Wait minutes for a newer snapshot, or as long as letters wait where the account exists but is invalid."""
        is_left_out = context.directory.is_left_out(context.event.data.account_id)
        if self._letters.is_expired(context.work):
            return await self._letters.fail(context, Classification(Reason.EXPIRED, Scope.MESSAGE, Action.FAIL))
        since = context.work.sender_missing_since or context.began_at
        if not is_left_out and (context.began_at - since).total_seconds() >= self._unknown_sender_wait_s:
            return await self._letters.fail(
                context, Classification(Reason.SENDER_UNAVAILABLE, Scope.MESSAGE, Action.FAIL)
            )
        level_s = waiting_level_s(context.age_s) if is_left_out else retry_level_s(1)
        why = Classification(Reason.SENDER_UNAVAILABLE, Scope.MESSAGE, Action.RETRY)
        return self._outcomes.waiting_for_sender(context, why, level_s)

    def _split(self, context: EventContext, letters: Sequence[PlannedLetter]) -> list[Publication]:
        """Split the work: each part names its recipients and the plan's mode, which account changes leave alone."""
        parts = []
        for first in range(0, len(letters), LETTERS_PER_MESSAGE):
            positions = tuple(p for x in letters[first : first + LETTERS_PER_MESSAGE] for p in x.envelope)
            work = replace(context.work, mode=letters[0].mode, recipients=positions)
            parts.append(requeue.part(context.arrival, work))
        log.info("event.split", letters=len(letters), parts=len(parts))
        self._observer.settled(context.arrival.queue, context.event.type, "split")
        return parts

    async def _foreign(self, arrival: Arrival, event: LetterEvent, error: ForeignEvent) -> list[Publication]:
        """Another account's event has this identity: keep the two strictly apart."""
        return await self._invalid(arrival, str(error), f"invalid/{event.data.account_id}")

    async def _invalid(self, arrival: Arrival, problem: str, stage: str = "invalid") -> list[Publication]:
        """Dead-letter the message, with a result for the product as far as the event is readable."""
        now = self._clock.now()
        log.warning("event.invalid", problem=problem, queue=arrival.queue)
        self._observer.settled(arrival.queue, None, "invalid")
        self._observer.buried(Reason.INVALID_EVENT)
        dead_letter = requeue.dead(
            arrival, self._topology, requeue.DeadLetterReason(Reason.INVALID_EVENT, problem, now)
        )
        salvaged = arrival, self._reporter.source, problem, now, stage
        result = await aside(invalid_result, *salvaged) if is_large(arrival) else invalid_result(*salvaged)
        return [dead_letter] if result is None else [self._reporter.publication(result), dead_letter]


def _letter_event(event: Event[Data]) -> LetterEvent:
    if not isinstance(event.data, CommentCreated | TaskCreated):
        raise InvalidEvent(f"type: {event.type.value} asks for no letter")
    return cast("LetterEvent", event)


def _subject(event: LetterEvent) -> Subject:
    trace = TraceContext(event.traceparent, event.tracestate)
    return Subject(event.id, event.type.value, event.data.account_id, trace)


def _checked(work: Work, event: LetterEvent) -> Work:
    """The work, if its recipients exist in the event: otherwise no letter would leave and no result would say so."""
    if work.recipients is not None and not set(work.recipients) <= set(distinct_positions(event.data.recipients)):
        raise InvalidEvent(f"{RECIPIENTS}: the event has no such recipients")
    return work

"""Consumes the queue of mailbox checks: parse, check, answer."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import structlog

from worker.delivery import requeue
from worker.delivery.aside import aside, is_large, read_event
from worker.delivery.dead_letters import RETURNED_TOO_OFTEN, has_returned_too_often, invalid_result
from worker.delivery.instrumentation import NO_TRACING, Observer, Tracer, begin_subject
from worker.delivery.instrumentation import Subject as TracedSubject
from worker.delivery.mailboxes.backlog import Backlogged
from worker.delivery.mailboxes.in_hand import InHand, PlaceInHand
from worker.delivery.messages import Arrival, Publication
from worker.delivery.places import Holder, act_for
from worker.delivery.ports import Clock, SnapshotService
from worker.delivery.results import Reporter
from worker.domain.backoff import check_level_s, is_expired
from worker.domain.events.cloudevents import TraceContext
from worker.domain.events.models import Event, MailboxCheckRequested, NewMailboxCheck, SavedMailboxCheck
from worker.domain.events.partial import salvage
from worker.domain.failure.hints import hint_for
from worker.domain.identity import event_key, result_id
from worker.domain.results.events import MailboxCheckedEvent, MailFailedEvent
from worker.domain.results.models import CheckStepResult, MailboxChecked
from worker.domain.snapshot.model import Mailbox
from worker.domain.topology import Topology
from worker.domain.vocabulary import EventType, Reason
from worker.domain.work import Work, read_work
from worker.errors import InvalidEvent
from worker.operations.mailbox_check.check import MailboxCheck, failed_settings, is_good, too_many_checks
from worker.operations.mailbox_check.ports import Subject


def invalid_check(
    arrival: Arrival, source: str, problem: str, at: datetime
) -> MailboxCheckedEvent | MailFailedEvent | None:
    """`mailbox.checked` with one failed step if the mailbox is identifiable, else the result of any invalid event."""
    event = salvage(arrival.headers, arrival.content_type, arrival.body)
    if event is None or event.account_id is None or event.type != EventType.MAILBOX_CHECK_REQUESTED:
        return invalid_result(arrival, source, problem, at)
    reason = Reason.INVALID_EVENT
    step = CheckStepResult(name="settings", ok=False, reason=reason, hint=hint_for(reason), detail=problem)
    data = MailboxChecked(
        account_id=event.account_id,
        event_id=event.id,
        event_source=event.source,
        mailbox_id=None,
        ok=False,
        steps=(step,),
    )
    return MailboxCheckedEvent(
        id=result_id(event_key(event.source, event.id), (), "invalid"),
        source=source,
        time=at,
        traceparent=event.trace.traceparent,
        tracestate=event.trace.tracestate,
        data=data,
    )


log = structlog.get_logger(__name__)

_PATIENCE_S = 900.0
"""How long a request waits for a place among its account's checks; a person is waiting for the answer."""

_BEGUN_BEFORE = "the check was begun before and interrupted: a test letter may have been sent, and none is sent again"


class CheckHandler:
    """Handles `mailbox.check.requested`."""

    def __init__(
        self,
        check: MailboxCheck,
        *,
        snapshot: SnapshotService,
        reporter: Reporter,
        topology: Topology,
        clock: Clock,
        observer: Observer,
        in_hand: InHand,
        tracer: Tracer = NO_TRACING,
    ) -> None:
        self._check = check
        self._in_hand = in_hand
        self._snapshot = snapshot
        self._reporter = reporter
        self._topology = topology
        self._clock = clock
        self._observer = observer
        self._tracer = tracer

    async def handle(self, arrival: Arrival) -> Sequence[Publication]:
        """Handle one message; implements `messages.Handler`."""
        try:
            event, work = await _check_event(arrival), read_work(arrival.headers, self._clock.now())
        except (InvalidEvent, ValueError) as error:
            log.warning("event.invalid", problem=str(error), queue=arrival.queue)
            self._observer.settled(arrival.queue, None, "invalid")
            return [*await self._told(arrival, str(error)), self._buried(arrival, Reason.INVALID_EVENT, str(error))]
        trace = TraceContext(event.traceparent, event.tracestate)
        begin_subject(self._tracer, TracedSubject(event.id, event.type.value, event.data.account_id, trace))
        return await self._guarded(arrival, event, work)

    async def _guarded(self, arrival: Arrival, event: Event[MailboxCheckRequested], work: Work) -> list[Publication]:
        if has_returned_too_often(arrival):
            log.error("event.returned_too_often", returns=arrival.returns)
            return self._stranded(arrival, event, RETURNED_TOO_OFTEN)
        holder = _holder(event.data)
        act_for(holder)
        try:
            place = self._in_hand.acquire(holder, work.turn)
            if isinstance(place, PlaceInHand):
                with place:
                    answer = await self._answer(event, is_first=not arrival.is_redelivered)
            elif is_expired(work.first_seen, self._clock.now(), _PATIENCE_S):
                answer = self._result(event, None, too_many_checks(self._clock.monotonic).results())
            else:
                return [self._later(arrival, work, place)]
        except Exception as error:  # even a bug of ours must not make the message loop for ever
            log.exception("event.unhandled")
            return self._stranded(arrival, event, type(error).__name__)
        self._observer.settled(arrival.queue, event.type, "done")
        return [self._reporter.publication(answer)]

    def _later(self, arrival: Arrival, work: Work, denied: Backlogged) -> Publication:
        """Publish the request again, for when its account has a free place."""
        self._observer.settled(arrival.queue, EventType.MAILBOX_CHECK_REQUESTED, "sent_away")
        headers = replace(work, turn=denied.not_before).headers()
        return requeue.later(arrival, headers, self._topology, check_level_s(denied.wait_s))

    def _stranded(self, arrival: Arrival, event: Event[MailboxCheckRequested], detail: str) -> list[Publication]:
        """Bury the message for an operator, and publish a result so that the requester does not wait in vain."""
        self._observer.settled(arrival.queue, event.type, "failed")
        steps = failed_settings(Reason.INTERNAL_ERROR, detail, self._clock.monotonic).results()
        told = self._reporter.publication(self._result(event, None, steps, stage="stranded"))
        return [told, self._buried(arrival, Reason.INTERNAL_ERROR, detail)]

    async def _told(self, arrival: Arrival, problem: str) -> list[Publication]:
        """Answer a request that is invalid as a whole, from the parts that are readable."""
        salvaged = arrival, self._reporter.source, problem, self._clock.now()
        result = await aside(invalid_check, *salvaged) if is_large(arrival) else invalid_check(*salvaged)
        return [] if result is None else [self._reporter.publication(result)]

    def _buried(self, arrival: Arrival, reason: Reason, detail: str) -> Publication:
        self._observer.buried(reason)
        return requeue.dead(arrival, self._topology, requeue.DeadLetterReason(reason, detail, self._clock.now()))

    async def _answer(self, event: Event[MailboxCheckRequested], *, is_first: bool) -> MailboxCheckedEvent:
        """Run the check. `is_first` False means a redelivery: no letter is sent twice, not even a test letter."""
        mailbox = event.data.mailbox or await self._known(event.data.account_id, event.data.mailbox_id)
        if isinstance(mailbox, str):
            steps = failed_settings(Reason.SENDER_UNAVAILABLE, mailbox, self._clock.monotonic).results()
            return self._result(event, None, steps)
        subject = Subject(
            account_id=event.data.account_id,
            mailbox=mailbox,
            key=event.key,
            is_trusted=isinstance(event.data, SavedMailboxCheck),
            test_to=event.data.send_test_to,
        )
        if subject.test_to is not None and not is_first:
            subject = replace(subject, test_to=None, why_no_test=_BEGUN_BEFORE)
        return self._result(event, mailbox, await self._checked(subject))

    async def _checked(self, subject: Subject) -> tuple[CheckStepResult, ...]:
        began_s = self._clock.monotonic()
        with self._tracer.span("mailbox_check"):
            steps = await self._check.run(subject)
        self._observer.checked("good" if is_good(steps) else "bad", self._clock.monotonic() - began_s)
        return steps

    async def _known(self, account_id: str, mailbox_id: str | None) -> Mailbox | str:
        """The snapshot's mailbox, or why there is none; refreshes the snapshot before giving up."""
        found = self._found(account_id, mailbox_id)
        if isinstance(found, str):
            await self._snapshot.refresh()
            found = self._found(account_id, mailbox_id)
        return found

    def _found(self, account_id: str, mailbox_id: str | None) -> Mailbox | str:
        directory = self._snapshot.directory
        account = directory.account(account_id)
        if account is None:
            is_broken = directory.is_left_out(account_id)
            return "the account is in the snapshot but not valid" if is_broken else "the snapshot has no such account"
        known = (mailbox for mailbox in account.mailboxes if mailbox.id == mailbox_id)
        return next(known, "the account has no such mailbox in the snapshot")

    def _result(
        self,
        event: Event[MailboxCheckRequested],
        mailbox: Mailbox | None,
        steps: tuple[CheckStepResult, ...],
        stage: str = "checked",
    ) -> MailboxCheckedEvent:
        data = MailboxChecked(
            account_id=event.data.account_id,
            event_id=event.id,
            event_source=event.source,
            mailbox_id=event.data.mailbox_id,
            address=mailbox.address if mailbox is not None else None,
            ok=is_good(steps),
            steps=steps,
        )
        failed = [step.name for step in steps if step.ok is False]
        log.info("mailbox.checked", mailbox_id=data.mailbox_id, ok=data.ok, failed=failed)
        return MailboxCheckedEvent(
            id=result_id(event.key, (), stage),
            source=self._reporter.source,
            subject=data.mailbox_id,
            time=self._clock.now(),
            traceparent=event.traceparent,
            tracestate=event.tracestate,
            data=data,
        )


def _holder(request: MailboxCheckRequested) -> Holder:
    """The holder of the place; a mailbox that is not saved yet is identified by its address."""
    return Holder(request.account_id, request.mailbox.address if request.mailbox else request.mailbox_id)


async def _check_event(arrival: Arrival) -> Event[MailboxCheckRequested]:
    event = await read_event(arrival)
    if not isinstance(event.data, SavedMailboxCheck | NewMailboxCheck):
        raise InvalidEvent(f"type: {event.type.value} asks for no check")
    return event  # type: ignore[return-value]  # its data was checked above

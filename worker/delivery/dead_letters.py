"""Messages that the worker cannot handle: dead-lettered for an operator, with a result for the product."""

from collections.abc import Mapping
from datetime import datetime

import structlog

from worker.delivery import requeue
from worker.delivery.messages import Arrival, HeaderValue, Publication
from worker.delivery.services import Services
from worker.domain.events.models import LetterEvent
from worker.domain.events.partial import salvage
from worker.domain.failure.hints import HINTS
from worker.domain.identity import event_key, result_id
from worker.domain.letter.plan import distinct_positions
from worker.domain.results.events import MailFailedEvent
from worker.domain.results.models import MailFailed, RecipientResult
from worker.domain.topology import MAX_RETURNS
from worker.domain.vocabulary import Action, Outcome, Reason, Scope
from worker.domain.work import Work

log = structlog.get_logger(__name__)

RETURNED_TOO_OFTEN = "it came back again and again without being settled: a worker may have died of it"


def has_returned_too_often(arrival: Arrival) -> bool:
    """True when the broker would soon drop the message, without a result."""
    return arrival.returns >= MAX_RETURNS


class DeadLetters:
    """Dead-letters work-queue messages that hit a bug of ours, and reports them."""

    def __init__(self, services: Services) -> None:
        self._reporter = services.rules.reporter
        self._topology = services.rules.topology
        self._clock = services.clock
        self._observer = services.observer

    def of_mistake(
        self, arrival: Arrival, event: LetterEvent, error: BaseException, work: Work, headers: Mapping[str, HeaderValue]
    ) -> list[Publication]:
        """Dead-letter a message, or part of its work, that hit a bug. `headers`: the work to keep."""
        log.error("event.unhandled", exc_info=error)
        return self._dead_letter(arrival, event, type(error).__name__, work, headers)

    def of_returned(self, arrival: Arrival, event: LetterEvent, work: Work) -> list[Publication]:
        """Dead-letter a message that several workers in turn failed to settle."""
        log.error("event.returned_too_often", returns=arrival.returns)
        return self._dead_letter(arrival, event, RETURNED_TOO_OFTEN, work, requeue.own_headers(arrival))

    def _dead_letter(
        self, arrival: Arrival, event: LetterEvent, detail: str, work: Work, headers: Mapping[str, HeaderValue]
    ) -> list[Publication]:
        self._observer.settled(arrival.queue, event.type, "failed")
        self._observer.buried(Reason.INTERNAL_ERROR)
        wanted = tuple(work.recipients if work.recipients is not None else distinct_positions(event.data.recipients))
        self._observer.lost(len(wanted))
        death = requeue.DeadLetterReason(Reason.INTERNAL_ERROR, detail, self._clock.now())
        return [*self._stranded(event, work, wanted, detail), requeue.dead(arrival, self._topology, death, headers)]

    def _stranded(self, event: LetterEvent, work: Work, wanted: tuple[int, ...], detail: str) -> list[Publication]:
        """The result. Not "failed": the letter may already have been handed over, or may leave after a replay."""
        try:
            result = self._reporter.stranded(event, wanted, work, self._clock.now(), detail)
            return [self._reporter.publication(result)]
        except Exception:  # building the result may itself hit the bug, and the message must be kept regardless
            log.exception("event.result_failed")
            return []


def invalid_result(
    arrival: Arrival, source: str, problem: str, at: datetime, stage: str = "invalid"
) -> MailFailedEvent | None:
    """`mail.failed` for an invalid event; None when even its identity is unreadable."""
    event = salvage(arrival.headers, arrival.content_type, arrival.body)
    if event is None:
        return None
    recipients = tuple(RecipientResult(address=address, outcome=Outcome.FAILED) for address in event.addresses)
    data = MailFailed(
        account_id=event.account_id,
        event_id=event.id,
        event_source=event.source,
        event_type=event.type,
        task_id=event.task_id,
        comment_id=event.comment_id,
        attempt=0,
        reason=Reason.INVALID_EVENT,
        scope=Scope.MESSAGE,
        action=Action.FAIL,
        hint=HINTS[Reason.INVALID_EVENT],
        detail=problem,
        recipients=recipients,
    )
    return MailFailedEvent(
        id=result_id(event_key(event.source, event.id), (), stage),
        source=source,
        subject=event.task_id,
        time=at,
        traceparent=event.trace.traceparent,
        tracestate=event.trace.tracestate,
        data=data,
    )

"""The result for an event that cannot be read as a whole, as far as its parts can be."""

from datetime import datetime

from worker.delivery.messages import Arrival
from worker.domain.envelope import MailFailedEvent
from worker.domain.hints import HINTS
from worker.domain.identity import event_key, result_id
from worker.domain.results import MailFailed, RecipientResult
from worker.domain.salvage import salvage
from worker.domain.vocabulary import Action, Outcome, Reason, Scope


def invalid_result(
    arrival: Arrival, source: str, problem: str, at: datetime, stage: str = "invalid"
) -> MailFailedEvent | None:
    """`mail.failed` for an invalid event; None when not even its identity can be read."""
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

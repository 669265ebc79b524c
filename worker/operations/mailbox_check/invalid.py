"""The answer to a request for a check that cannot be read as a whole: whoever waits must not wait for ever."""

from datetime import datetime

from worker.delivery.dead_letters import invalid_result
from worker.delivery.messages import Arrival
from worker.domain.envelope import MailboxCheckedEvent, MailFailedEvent
from worker.domain.hints import hint_for
from worker.domain.identity import event_key, result_id
from worker.domain.results import CheckStepResult, MailboxChecked
from worker.domain.salvage import salvage
from worker.domain.vocabulary import EventType, Reason


def invalid_check(
    arrival: Arrival, source: str, problem: str, at: datetime
) -> MailboxCheckedEvent | MailFailedEvent | None:
    """`mailbox.checked` with one failed step where it is known whose it is, else what any invalid event gets."""
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

"""`mail.sent`, the result that nearly every letter has, written at once.

The models of results check what they are given, field by field; what is written here has been checked already. That
it is byte for byte what the models make is the tests' affair, and so the models stay what the contract is read from.
"""

from datetime import datetime

from pydantic_core import to_json

from worker.delivery.case import Case
from worker.delivery.facts import Facts
from worker.domain.cloudevents import STRUCTURED
from worker.domain.event import LetterEvent
from worker.domain.events import CommentCreated
from worker.domain.explanation import explanation_json
from worker.domain.identity import result_id
from worker.domain.message import OutgoingMessage, Properties
from worker.domain.resolution import Resolution
from worker.domain.results import words
from worker.domain.transmission import Reply
from worker.domain.vocabulary import Outcome, ResultType

# Members of closed lists as plain texts: to write one as JSON takes the encoder several times as long.
_TYPE = ResultType.MAIL_SENT.value
_OUTCOME = Outcome.SENT.value
Json = dict[str, object]


def sent_message(case: Case, facts: Facts, source: str, at: datetime) -> OutgoingMessage:
    """The message that tells of a letter's acceptance; `source` is the installation that publishes it."""
    event = case.event
    time = at.isoformat()
    attributes = {
        "specversion": "1.0",
        "id": result_id(event.key, facts.positions, "sent"),
        "source": source,
        "type": _TYPE,
        "subject": event.data.task.id,
        "time": time.replace("+00:00", "Z"),  # as the models write it
        "datacontenttype": "application/json",
    }
    if event.traceparent is not None:
        attributes["traceparent"] = event.traceparent
    if event.tracestate is not None:
        attributes["tracestate"] = event.tracestate
    headers = {f"ce-{name}": value for name, value in attributes.items()}
    headers["ce-time"] = time
    return OutgoingMessage(
        id=headers["ce-id"],
        routing_key=_TYPE,
        headers=headers,
        properties=Properties(STRUCTURED, _TYPE, at, event.id),
        body=to_json({**attributes, "data": _data(case, facts)}),
    )


def _data(case: Case, facts: Facts) -> Json:
    event, data = case.event, case.event.data
    return {
        "reason": None,
        "scope": None,
        "action": None,
        "hint": None,
        "detail": words(facts.detail),
        "account_id": data.account_id,
        "event_id": event.id,
        "event_source": event.source,
        "event_type": event.type.value,
        "task_id": data.task.id,
        "comment_id": data.comment.id if isinstance(data, CommentCreated) else None,
        "message_id": facts.message_id,
        "attempt": case.attempt,
        "timings": {stage: round(float(seconds), 6) for stage, seconds in facts.timings_s.items()},
        "recipients": [_recipient(event, position, facts.replies.get(position)) for position in facts.positions],
        "provider_message_id": words(facts.provider_message_id),
        "sender": _sender(case.resolution, case.directory.version),
        "next_attempt_at": None,
    }


def _recipient(event: LetterEvent, position: int, reply: Reply | None) -> Json:
    recipient = event.data.recipients[position]
    return {
        "address": recipient.address,
        "contact_id": recipient.contact_id,
        "outcome": _OUTCOME,
        "reply": reply and {"code": reply.code, "enhanced": words(reply.enhanced), "text": words(reply.text)},
    }


def _sender(resolution: Resolution, snapshot_version: int) -> Json:
    sender = resolution.sender
    return {
        "mailbox_id": sender.mailbox.id if sender and sender.mailbox else None,
        "address": sender.address if sender else None,
        "tier": resolution.tier.value,
        "snapshot_version": snapshot_version,
        "explanation": explanation_json(resolution.explanation),
    }

"""A result as a message: structured CloudEvents JSON, the attributes doubled in headers, and AMQP's own properties."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from worker.domain.cloudevents import STRUCTURED
from worker.domain.envelope import AnyResultEvent

_HEADER_ATTRIBUTES = ("specversion", "id", "source", "type", "subject", "datacontenttype", "traceparent", "tracestate")


@dataclass(frozen=True, slots=True)
class Properties:
    """AMQP properties of a result.

    `message_id` is left to the publisher: returned messages are matched by it, so it must be fresh for each
    publication, while the event's id (in the body and in `ce-id`) is the same for a repeated one.
    """

    content_type: str
    type: str
    timestamp: datetime
    correlation_id: str


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """What is published to the exchange of results, with the type as routing key; `id` is the result's."""

    id: str
    routing_key: str
    headers: Mapping[str, str]
    properties: Properties
    body: bytes


def to_message(result: AnyResultEvent) -> OutgoingMessage:
    """The message that tells of a result; `correlation_id` is the id of the event that caused it, where one did."""
    headers = {f"ce-{name}": str(value) for name in _HEADER_ATTRIBUTES if (value := getattr(result, name)) is not None}
    headers["ce-time"] = result.time.isoformat()
    return OutgoingMessage(
        id=result.id,
        routing_key=result.type.value,
        headers=headers,
        properties=Properties(
            content_type=STRUCTURED,
            type=result.type.value,
            timestamp=result.time,
            correlation_id=getattr(result.data, "event_id", None) or result.id,
        ),
        body=result.to_json(),
    )

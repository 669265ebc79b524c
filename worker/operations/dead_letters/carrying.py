"""A dead message as a new one: which of its headers and properties go on."""

from collections.abc import Mapping
from datetime import datetime

from worker.delivery.messages import HeaderValue, Publication
from worker.delivery.signatures import SIGNATURE
from worker.domain.events.cloudevents import attribute_text
from worker.operations.dead_letters.queue import DeadMessage


def carried(headers: Mapping[str, object]) -> dict[str, HeaderValue]:
    """Headers for a message that goes on, without its signature: with other headers it needs another one.

    Not the broker's own either: with them it sees a cycle and drops the message.
    """
    return {
        name: value if isinstance(value := attribute_text(given), str | int) else str(value)
        for name, given in headers.items()
        if given is not None and name != SIGNATURE and not name.startswith("x-")
    }


def as_publication(message: DeadMessage, queue: str, headers: Mapping[str, HeaderValue]) -> Publication:
    """The message again, for a queue. Its message id is a fresh one: brokers and libraries match by it."""
    properties = message.properties
    timestamp = properties.get("timestamp")
    return Publication(
        exchange="",
        routing_key=queue,
        body=message.body,
        headers=headers,
        content_type=_text(properties.get("content_type")),
        correlation_id=_text(properties.get("correlation_id")),
        type=_text(properties.get("type")),
        timestamp=timestamp if isinstance(timestamp, datetime) else None,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None

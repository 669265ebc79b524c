"""Turns a dead message into a new one: which headers and properties it keeps."""

from collections.abc import Mapping
from datetime import datetime

from worker.delivery.messages import HeaderValue, Publication
from worker.delivery.signatures import SIGNATURE
from worker.domain.events.cloudevents import attribute_text
from worker.operations.dead_letters.queue import DeadMessage


def carried(headers: Mapping[str, object]) -> dict[str, HeaderValue]:
    """Headers for the new message, without the signature, which other headers would invalidate.

    The broker's own headers are dropped too: with them it detects a cycle and drops the message.
    """
    return {
        name: value if isinstance(value := attribute_text(given), str | int) else str(value)
        for name, given in headers.items()
        if given is not None and name != SIGNATURE and not name.startswith("x-")
    }


def as_publication(message: DeadMessage, queue: str, headers: Mapping[str, HeaderValue]) -> Publication:
    """Build the publication for a queue, with a fresh message id: brokers and libraries match messages by it."""
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

"""Messages as the delivery sees them: what arrived, and what to publish before it is acknowledged."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

HeaderValue = str | int

MAX_HEADER_BYTES = 112 * 1024
"""Most bytes for the headers of one message: they share a frame with the properties, and RabbitMQ's limit for a frame
is 128 KiB. A larger one closes the connection, with every other message on it, and would do so on each retry.
"""

_FIELD_BYTES = 10  # a field's length, type and number


def header_bytes(name: str, value: HeaderValue) -> int:
    """Size of one header in bytes."""
    return len(name.encode()) + len(str(value).encode("utf-8", "replace")) + _FIELD_BYTES


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message taken from a queue. `returns`: how often it was returned there unsettled."""

    queue: str
    body: bytes
    headers: Mapping[str, object] = field(default_factory=dict)
    content_type: str | None = None
    is_redelivered: bool = False
    returns: int = 0


@dataclass(frozen=True, slots=True)
class Publication:
    """A message to publish: persistent and confirmed. An empty `exchange` is the default one: it routes by queue name.

    With `must_route`, a message that no queue takes is an error; without, it is only counted: a topic may
    have no consumers.
    """

    exchange: str
    routing_key: str
    body: bytes
    headers: Mapping[str, HeaderValue] = field(default_factory=dict)
    content_type: str | None = None
    correlation_id: str | None = None
    type: str | None = None
    timestamp: datetime | None = None
    must_route: bool = True


Handler = Callable[[Arrival], Awaitable[Sequence[Publication]]]
"""Handles one message: the consumer publishes what it returns with confirms, then acknowledges the message.

Raises `Unavailable` when it cannot be handled now: the message is kept and retried. On cancellation it is returned.
"""

Publish = Callable[[Publication], Awaitable[None]]
"""Publishes one message at once and returns on the broker's confirm, however long an outage lasts."""

"""Messages as the delivery sees them: what arrived, and what is to be published before it is acknowledged."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

HeaderValue = str | int

MAX_HEADER_BYTES = 112 * 1024
"""Most that the headers of one message may take: they stand in one frame with the properties, and RabbitMQ takes frames
of at most 128 KiB. A larger one costs the connection, with everybody else's messages on it, and would do so each time.
"""

_FIELD_BYTES = 10  # a field's length, type and number


def header_bytes(name: str, value: HeaderValue) -> int:
    """How much one header takes."""
    return len(name.encode()) + len(str(value).encode("utf-8", "replace")) + _FIELD_BYTES


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message that came out of a queue. `returns`: how often it went back there unsettled."""

    queue: str
    body: bytes
    headers: Mapping[str, object] = field(default_factory=dict)
    content_type: str | None = None
    is_redelivered: bool = False
    returns: int = 0


@dataclass(frozen=True, slots=True)
class Publication:
    """A message to publish: persistent and confirmed. `exchange` empty is the default one, which routes by queue name.

    With `must_route`, a message that no queue takes is an error; without, it is only counted: a topic that nobody
    listens to is the listeners' affair.
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
"""Deals with one message: what it returns is published with confirms, and then the message is acknowledged.

Raises `Unavailable` when it cannot be dealt with now: the message is kept and tried again. Cancelled, it is given back.
"""

Publish = Callable[[Publication], Awaitable[None]]
"""Publishes one message at once and returns when the broker has confirmed it, however long its outage takes."""

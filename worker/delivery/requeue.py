"""Messages that return to the broker: to retry later, to work on in parts, or for the dead queue."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from worker.delivery.messages import Arrival, HeaderValue, Publication, header_bytes
from worker.domain.backoff import RETRY_LEVELS_S, backlog_level_s
from worker.domain.events.cloudevents import attribute_text
from worker.domain.text import one_line
from worker.domain.topology import Topology
from worker.domain.vocabulary import Reason
from worker.domain.work import FIRST_SEEN, Work

DEAD_REASON = "sendas-dead-reason"
DEAD_DETAIL = "sendas-dead-detail"
DEAD_AT = "sendas-dead-at"
DEAD_QUEUE = "sendas-dead-queue"

_REPLAY = "sendas-replay"  # set by an operator's replay; stays on the message for its whole life
_MAX_DETAIL = 500
# Together with the few headers added later, they stay below `messages.MAX_HEADER_BYTES`.
_MAX_OWN_BYTES = 64 * 1024
_MAX_CARRIED_BYTES = 32 * 1024


def later(arrival: Arrival, headers: Mapping[str, HeaderValue], topology: Topology, level_s: int) -> Publication:
    """The same message, delayed: it waits in the delay queue of this level and returns to its own queue."""
    return _again(arrival, headers, topology.delay(arrival.queue, level_s))


def until_turn(
    arrival: Arrival, headers: Mapping[str, HeaderValue], topology: Topology, turn: datetime, now: datetime
) -> Publication:
    """The same message, parked until its letter's turn, where it blocks no other letter."""
    # The last digits differ between letters and are stable for each letter.
    level_s = backlog_level_s((turn - now).total_seconds(), turn.microsecond)
    return _again(arrival, headers, topology.delay(topology.backlog, level_s))


def admitted(arrival: Arrival, topology: Topology) -> Publication:
    """The message, moved back to the work queue."""
    return _again(arrival, own_headers(arrival), topology.outbound)


def put_back(arrival: Arrival, topology: Topology, at: datetime) -> Publication:
    """The message unchanged, delayed and published anew, which resets the broker's delivery count."""
    headers = own_headers(arrival)
    headers.setdefault(FIRST_SEEN, at.isoformat())
    return later(arrival, headers, topology, RETRY_LEVELS_S[0])


def part(arrival: Arrival, work: Work) -> Publication:
    """Part of the work on the same event, to be done now."""
    return _again(arrival, work.headers(), arrival.queue)


@dataclass(frozen=True, slots=True)
class DeadLetterReason:
    """Why and when a message was dead-lettered."""

    reason: Reason
    detail: str
    at: datetime


def dead(
    arrival: Arrival, topology: Topology, death: DeadLetterReason, work: Mapping[str, HeaderValue] | None = None
) -> Publication:
    """The same message for the dead queue, with the reason, its origin and the remaining work."""
    headers = dict(work) if work is not None else own_headers(arrival)
    headers.setdefault(FIRST_SEEN, death.at.isoformat())
    headers |= {
        DEAD_REASON: death.reason.value,
        DEAD_DETAIL: one_line(death.detail)[:_MAX_DETAIL],
        DEAD_AT: death.at.isoformat(),
        DEAD_QUEUE: arrival.queue,
    }
    return _again(arrival, headers, topology.dead)


def own_headers(arrival: Arrival) -> dict[str, HeaderValue]:
    """Our own headers of an arriving message: its work, and whatever else its stage needs."""
    return _fitting(
        {name: v for name, v in arrival.headers.items() if _is_ours(name) and isinstance(v, str | int)}, _MAX_OWN_BYTES
    )


def _again(arrival: Arrival, headers: Mapping[str, HeaderValue], queue: str) -> Publication:
    return Publication(
        exchange="",
        routing_key=queue,
        body=arrival.body,
        headers={**_carried(arrival), **headers},
        content_type=arrival.content_type,
    )


def _carried(arrival: Arrival) -> dict[str, HeaderValue]:
    """The event's own headers. Drops the broker's `x-` headers: they make it detect a cycle and discard the message."""
    foreign = {
        name: _plain(value)
        for name, value in arrival.headers.items()
        if not name.startswith("x-") and (not _is_ours(name) or name.startswith(_REPLAY))
    }
    return _fitting(foreign, _MAX_CARRIED_BYTES)


def _plain(value: object) -> HeaderValue:
    """The value as text that parses back to the same attribute; AMQP has its own types for times and bytes."""
    plain = attribute_text(value)
    if isinstance(plain, int):
        return plain
    # Bytes that are not UTF-8 cannot be sent as text, and an unreadable value is no attribute anyway.
    return str(plain).encode("utf-8", "replace").decode()


def _fitting(headers: Mapping[str, HeaderValue], max_bytes: int) -> dict[str, HeaderValue]:
    """The headers that fit: the event's own attributes first, then small ones before large ones."""
    if sum(header_bytes(*header) for header in headers.items()) <= max_bytes:
        return dict(headers)
    fitting: dict[str, HeaderValue] = {}
    for name, value in sorted(headers.items(), key=lambda header: (not _is_read(header[0]), header_bytes(*header))):
        max_bytes -= header_bytes(name, value)
        if max_bytes < 0:
            break
        fitting[name] = value
    return fitting


def _is_read(name: str) -> bool:
    return name.lower().startswith(("ce-", "cloudevents", "trace"))


def _is_ours(name: str) -> bool:
    return name.startswith("sendas-")

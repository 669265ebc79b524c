"""Messages that go back to the broker: to be tried later, to be worked on in parts, or to the dead queue."""

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

_REPLAY = "sendas-replay"  # what an operator's replay leaves: it stays for as long as the message goes round
_MAX_DETAIL = 500
# Together, and with the few that are added, they stay below `messages.MAX_HEADER_BYTES`.
_MAX_OWN_BYTES = 64 * 1024
_MAX_CARRIED_BYTES = 32 * 1024


def later(arrival: Arrival, headers: Mapping[str, HeaderValue], topology: Topology, level_s: int) -> Publication:
    """The same message for a later time: it waits in the delay queue of the level and comes back to its own queue."""
    return _again(arrival, headers, topology.delay(arrival.queue, level_s))


def until_turn(
    arrival: Arrival, headers: Mapping[str, HeaderValue], topology: Topology, turn: datetime, now: datetime
) -> Publication:
    """The same message, whose letter waits for its turn: away from where it would stand before other letters."""
    # Its last digits differ between letters, and stay the same for each letter.
    level_s = backlog_level_s((turn - now).total_seconds(), turn.microsecond)
    return _again(arrival, headers, topology.delay(topology.backlog, level_s))


def admitted(arrival: Arrival, topology: Topology) -> Publication:
    """The message back among those that are worked on."""
    return _again(arrival, own_headers(arrival), topology.outbound)


def put_back(arrival: Arrival, topology: Topology, at: datetime) -> Publication:
    """The message as it is, for a later time, as a new one: the broker has not counted how often it came back."""
    headers = own_headers(arrival)
    headers.setdefault(FIRST_SEEN, at.isoformat())
    return later(arrival, headers, topology, RETRY_LEVELS_S[0])


def part(arrival: Arrival, work: Work) -> Publication:
    """A part of the work on the same event, for now."""
    return _again(arrival, work.headers(), arrival.queue)


@dataclass(frozen=True, slots=True)
class DeadLetterReason:
    """Why and when a message went to the dead queue."""

    reason: Reason
    detail: str
    at: datetime


def dead(
    arrival: Arrival, topology: Topology, death: DeadLetterReason, work: Mapping[str, HeaderValue] | None = None
) -> Publication:
    """The same message for the dead queue, with the reason, where it came from, and the work that was left of it."""
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
    """The headers of ours that a message came with: the work as it was, and what else its stage needs."""
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
    """The event's own headers. The broker's `x-` headers must not go round: with them it sees a cycle and drops."""
    foreign = {
        name: _plain(value)
        for name, value in arrival.headers.items()
        if not name.startswith("x-") and (not _is_ours(name) or name.startswith(_REPLAY))
    }
    return _fitting(foreign, _MAX_CARRIED_BYTES)


def _plain(value: object) -> HeaderValue:
    """The value as text that is read as the same attribute again; AMQP has types of its own for times and bytes."""
    plain = attribute_text(value)
    if isinstance(plain, int):
        return plain
    # Bytes that are no UTF-8 cannot be sent as text; what cannot be read is no attribute anyway.
    return str(plain).encode("utf-8", "replace").decode()


def _fitting(headers: Mapping[str, HeaderValue], max_bytes: int) -> dict[str, HeaderValue]:
    """The headers for which there is room: first those that the event is read from, and the small before the large."""
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

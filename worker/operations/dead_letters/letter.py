"""What a dead letter is: why, when and where it died, and what it is about, as far as that can be read.

Anything can end in the dead queue, so nothing here raises, and every text is cleaned before a terminal shows it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from worker.delivery.copy_jobs import JOB
from worker.delivery.requeueing import DEAD_AT, DEAD_DETAIL, DEAD_QUEUE, DEAD_REASON
from worker.domain.cloudevents import STRUCTURED, attribute_text, attributes_of
from worker.domain.strict_json import MAX_BODY_BYTES
from worker.domain.text import one_line
from worker.domain.work import ATTEMPT, FIRST_SEEN, RECIPIENTS, parse_positions
from worker.errors import InvalidEvent
from worker.operations.dead_letters.queue import DeadMessage

REPLAYS = "sendas-replays"
REPLAY_ID = "sendas-replay-id"
UNKNOWN = "unknown"

_MAX_CHARS = 500


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter without its body. None: it does not say, or not in a readable form.

    `reason` is one of the contract's, or the broker's own word such as `delivery_limit`; `queue` is the one that it
    died in; `attempts` were made before; `recipients` are those who still wait, by their number.
    """

    reason: str
    detail: str
    dead_at: datetime | None
    queue: str | None
    event_id: str | None
    event_source: str | None
    event_type: str | None
    account_id: str | None
    mailbox_id: str | None
    task_id: str | None
    addresses: tuple[str, ...]
    recipients: int
    attempts: int
    first_seen: datetime | None
    replays: int
    replay_id: str | None
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Death:
    reason: str
    detail: str
    at: datetime | None
    queue: str | None


def read_dead_letter(message: DeadMessage) -> DeadLetter:
    """What can be read of a message of the dead queue. Never raises."""
    headers = message.headers
    death = _own_death(headers) or _brokers_death(headers) or _Death(UNKNOWN, "", None, None)
    about, data = _about(message)
    addresses = _addresses(_in(data, "recipients"))
    return DeadLetter(
        reason=death.reason,
        detail=death.detail,
        dead_at=death.at,
        queue=death.queue,
        event_id=_text(about.get("id")),
        event_source=_text(about.get("source")),
        event_type=_text(about.get("type")),
        account_id=_text(_in(data, "account_id")),
        mailbox_id=_text(_in(data, "mailbox_id")),
        task_id=_text(_in(data, "task_id")) or _text(_in(_in(data, "task"), "id")),
        addresses=addresses,
        recipients=_waiting(headers.get(RECIPIENTS), _in(data, "recipients")),
        attempts=number(headers.get(ATTEMPT)),
        first_seen=_moment(headers.get(FIRST_SEEN)),
        replays=number(headers.get(REPLAYS)),
        replay_id=_text(headers.get(REPLAY_ID)),
        size_bytes=len(message.body),
    )


def number(value: object) -> int:
    """A count in a header; 0 when it is none, or none that we wrote."""
    text = str(value) if isinstance(value, int | str) else ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0


def _own_death(headers: Mapping[str, object]) -> _Death | None:
    reason = _text(headers.get(DEAD_REASON))
    if reason is None:
        return None
    detail = _text(headers.get(DEAD_DETAIL)) or ""
    return _Death(reason, detail, _moment(headers.get(DEAD_AT)), _text(headers.get(DEAD_QUEUE)))


def _brokers_death(headers: Mapping[str, object]) -> _Death | None:
    """The broker's own note; the latest death comes first. What merely waited in a delay queue has not died there."""
    deaths = headers.get("x-death")
    for death in deaths if isinstance(deaths, list) else []:
        reason = _text(_in(death, "reason"))
        if reason is not None and reason != "expired":
            detail = "the broker gave it up, and no worker said why: a worker may have died of it"
            return _Death(reason, detail, _moment(_in(death, "time")), _text(_in(death, "queue")))
    return None


def _about(message: DeadMessage) -> tuple[Mapping[str, object], object]:
    """The event's attributes and its data; of a copy for Sent, those of its job."""
    job = message.headers.get(JOB)
    if job is not None:
        data = _json(job.encode("utf-8", "surrogatepass") if isinstance(job, str) else b"")
        names = {"id": "event_id", "source": "event_source", "type": "event_type"}
        return {attribute: _in(data, name) for attribute, name in names.items()}, data
    try:
        attributes = attributes_of(message.headers)
    except InvalidEvent:
        attributes = {}
    document = _json(message.body)
    content_type = message.properties.get("content_type")
    is_structured = isinstance(content_type, str) and content_type.strip().lower().startswith(STRUCTURED)
    if isinstance(document, dict) and (is_structured or not attributes):
        return {**attributes, **document}, document.get("data")
    return attributes, document


def _json(text: bytes) -> object:
    if len(text) > MAX_BODY_BYTES:
        return None
    try:
        return json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None


def _in(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _text(value: object) -> str | None:
    text = attribute_text(value)
    return one_line(text[:_MAX_CHARS]) or None if isinstance(text, str) else None


def _moment(value: object) -> datetime | None:
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value)[:100])
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _addresses(recipients: object) -> tuple[str, ...]:
    found = (_text(_in(recipient, "address")) for recipient in (recipients if isinstance(recipients, list) else []))
    return tuple(address for address in found if address)


def _waiting(positions: object, recipients: object) -> int:
    try:
        if positions is not None:
            return len(parse_positions(str(positions)[:10_000]))
    except ValueError:
        pass
    return len(recipients) if isinstance(recipients, list) else 0

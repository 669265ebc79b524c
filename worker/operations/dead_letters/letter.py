"""A dead letter: why, when and where it died, and what it is about, as far as that can be read.

The dead queue may contain anything, so nothing here raises, and all text is cleaned before a terminal shows it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from worker.delivery.sent_copy.jobs import JOB
from worker.domain.events.cloudevents import STRUCTURED, attributes_of
from worker.domain.events.models import MAX_RECIPIENTS
from worker.domain.events.strict_json import read_what_can_be
from worker.domain.work import ATTEMPT, FIRST_SEEN, RECIPIENTS, parse_positions
from worker.errors import InvalidEvent
from worker.operations.dead_letters.death import read_death
from worker.operations.dead_letters.digest import digest_of
from worker.operations.dead_letters.queue import DeadMessage
from worker.operations.dead_letters.reading import member, moment, number, text

REPLAYS = "sendas-replays"
REPLAY_ID = "sendas-replay-id"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter without its body. A field is None if the message lacks it or it is unreadable.

    `position` is the place in the queue, from 1, valid until a letter before it leaves; `digest` is `digest_of`.
    `reason` is one of the contract's, or the broker's own such as `delivery_limit`; `queue` is where the letter died;
    `attempts` counts earlier attempts; `recipients` are those still waiting, by number.
    """

    position: int
    digest: str
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


def read_dead_letter(message: DeadMessage) -> DeadLetter:
    """Read what is readable of a message in the dead queue. Never raises."""
    headers = message.headers
    death = read_death(headers)
    about, data = _about(message)
    addresses = _addresses(member(data, "recipients"))
    return DeadLetter(
        position=message.place + 1,
        digest=digest_of(message),
        reason=death.reason,
        detail=death.detail,
        dead_at=death.at,
        queue=death.queue,
        event_id=text(about.get("id")),
        event_source=text(about.get("source")),
        event_type=text(about.get("type")),
        account_id=text(member(data, "account_id")),
        mailbox_id=text(member(data, "mailbox_id")),
        task_id=text(member(data, "task_id")) or text(member(member(data, "task"), "id")),
        addresses=addresses,
        recipients=_waiting(headers.get(RECIPIENTS), member(data, "recipients")),
        attempts=number(headers.get(ATTEMPT)),
        first_seen=moment(headers.get(FIRST_SEEN)),
        replays=number(headers.get(REPLAYS)),
        replay_id=text(headers.get(REPLAY_ID)),
        size_bytes=len(message.body),
    )


def _about(message: DeadMessage) -> tuple[Mapping[str, object], object]:
    """The event's attributes and data; for a copy to Sent, those of its job."""
    job = message.headers.get(JOB)
    if job is not None:
        data = read_what_can_be(job.encode("utf-8", "surrogatepass") if isinstance(job, str) else b"")
        names = {"id": "event_id", "source": "event_source", "type": "event_type"}
        return {attribute: member(data, name) for attribute, name in names.items()}, data
    try:
        attributes = attributes_of(message.headers)
    except InvalidEvent:
        attributes = {}
    document = read_what_can_be(message.body)
    content_type = message.properties.get("content_type")
    is_structured = isinstance(content_type, str) and content_type.strip().lower().startswith(STRUCTURED)
    if isinstance(document, dict) and (is_structured or not attributes):
        return {**attributes, **document}, document.get("data")
    return attributes, document


def _addresses(recipients: object) -> tuple[str, ...]:
    known = recipients[:MAX_RECIPIENTS] if isinstance(recipients, list) else []
    found = (text(member(recipient, "address")) for recipient in known)
    return tuple(address for address in found if address)


def _waiting(positions: object, recipients: object) -> int:
    try:
        if positions is not None:
            return len(parse_positions(str(positions)[:10_000]))
    except ValueError:
        pass
    return len(recipients) if isinstance(recipients, list) else 0

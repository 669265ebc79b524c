"""Why, when and where a message died: in the worker's words, else in the broker's."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from worker.delivery.messages import HeaderValue
from worker.delivery.requeue import DEAD_AT, DEAD_DETAIL, DEAD_QUEUE, DEAD_REASON
from worker.operations.dead_letters.carrying import carried
from worker.operations.dead_letters.reading import member, moment, text

UNKNOWN = "unknown"

BROKERS_REASONS = ("delivery_limit", "rejected", "maxlen", "expired")
"""What RabbitMQ writes into `x-death` (https://www.rabbitmq.com/docs/dlx)."""


@dataclass(frozen=True, slots=True)
class Death:
    """A death. `reason`: one of the contract's, or the broker's word such as `delivery_limit`; `queue`: where."""

    reason: str
    detail: str
    at: datetime | None
    queue: str | None


def read_death(headers: Mapping[str, object]) -> Death:
    """What a message's headers say of its death. Never raises."""
    return _own(headers) or _brokers(headers) or Death(UNKNOWN, "", None, None)


def lasting_headers(headers: Mapping[str, object]) -> dict[str, HeaderValue]:
    """The headers that the message keeps when it is put back: what the broker noted of the death is noted in ours."""
    kept, death = carried(headers), read_death(headers)
    if DEAD_REASON in kept or death.queue is None:
        return kept
    kept |= {DEAD_REASON: death.reason, DEAD_DETAIL: death.detail, DEAD_QUEUE: death.queue}
    if death.at is not None:
        kept[DEAD_AT] = death.at.isoformat()
    return kept


def _own(headers: Mapping[str, object]) -> Death | None:
    reason = text(headers.get(DEAD_REASON))
    if reason is None:
        return None
    detail = text(headers.get(DEAD_DETAIL)) or ""
    return Death(reason, detail, moment(headers.get(DEAD_AT)), text(headers.get(DEAD_QUEUE)))


def _brokers(headers: Mapping[str, object]) -> Death | None:
    """The broker's own note; the latest death comes first. What merely waited in a delay queue has not died there."""
    deaths = headers.get("x-death")
    for death in deaths if isinstance(deaths, list) else []:
        reason = text(member(death, "reason"))
        if reason is not None and reason != "expired":
            detail = "the broker gave it up, and no worker said why: a worker may have died of it"
            return Death(reason, detail, moment(member(death, "time")), text(member(death, "queue")))
    return None

"""Why, when and where a message died: as the worker noted it, or else the broker."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from worker.delivery.messages import HeaderValue
from worker.delivery.requeue import DEAD_AT, DEAD_DETAIL, DEAD_QUEUE, DEAD_REASON
from worker.operations.dead_letters.carrying import carried
from worker.operations.dead_letters.reading import member, moment, text

UNKNOWN = "unknown"

BROKERS_REASONS = ("delivery_limit", "rejected", "maxlen", "expired")
"""Reasons that RabbitMQ writes into `x-death` (https://www.rabbitmq.com/docs/dlx)."""


@dataclass(frozen=True, slots=True)
class Death:
    """A death. `reason` is one of the contract's, or the broker's such as `delivery_limit`; `queue`: where."""

    reason: str
    detail: str
    at: datetime | None
    queue: str | None


def read_death(headers: Mapping[str, object]) -> Death:
    """Read the death from a message's headers. Never raises."""
    return _own(headers) or _brokers(headers) or Death(UNKNOWN, "", None, None)


def lasting_headers(headers: Mapping[str, object]) -> dict[str, HeaderValue]:
    """Headers to keep when putting the message back: the broker's death note is copied into the worker's headers."""
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
    """The latest death in `x-death`. Expiry in a delay queue is no death."""
    deaths = headers.get("x-death")
    for death in deaths if isinstance(deaths, list) else []:
        reason = text(member(death, "reason"))
        if reason is not None and reason != "expired":
            detail = "the broker gave it up, and no worker said why: a worker may have died of it"
            return Death(reason, detail, moment(member(death, "time")), text(member(death, "queue")))
    return None

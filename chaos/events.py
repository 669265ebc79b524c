"""The events of a run: what the product publishes, when, and what twice on purpose."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chaos.customers import AUTHOR, FREE_ACCOUNT, Customer
from chaos.plan import Plan

SOURCE = "/chaos/events"
NOBODY = "nobody-"
"""Addresses that begin so are refused by every server, for ever."""

_REPEATED = 0.1
_INVALID = 3
_RELAYED = 0.05
_NOBODY = 0.02
_LAST_PUBLISHED = 0.9  # of the time in which faults happen
_REPEAT_WITHIN_S = 30.0
_SIZES = (1,) * 25 + (2,) * 4 + (3, 12)


@dataclass(frozen=True)
class PlannedEvent:
    """One event; `customer` None: the account is not entitled, and its letters leave through the platform's relay."""

    id: str
    type: str
    body: bytes
    customer: Customer | None
    recipients: tuple[str, ...]
    publish_at_s: float
    repeat_at_s: float | None


def planned_events(plan: Plan, customers: tuple[Customer, ...]) -> list[PlannedEvent]:
    """All events, in the order of their publication."""
    draw = plan.random("events")
    events = []
    for number in range(plan.events):
        customer = None if draw.random() < _RELAYED else draw.choice(customers)
        at_s = plan.seconds * _LAST_PUBLISHED * number / plan.events
        recipients = tuple(
            f"{NOBODY if draw.random() < _NOBODY else 'client-'}{number}-{position}@buyer.example"
            for position in range(draw.choice(_SIZES))
        )
        is_repeated = draw.random() < _REPEATED
        repeat_at_s = min(at_s + draw.uniform(0, _REPEAT_WITHIN_S), plan.seconds) if is_repeated else None
        event_type = draw.choice(("comment.created", "task.created"))
        body = _event(plan.seed, number, event_type, customer, recipients)
        events.append(PlannedEvent(body["id"], event_type, _json(body), customer, recipients, at_s, repeat_at_s))
    return events


def invalid_events(plan: Plan) -> list[bytes]:
    """What the product publishes by mistake: nobody can read it, so it has to be kept with the reason."""
    return [
        _json(
            {"specversion": "1.0", "id": f"invalid-{plan.seed}-{number}", "source": SOURCE, "type": "comment.created"}
        )
        for number in range(_INVALID)
    ]


def _event(
    seed: int, number: int, event_type: str, customer: Customer | None, recipients: tuple[str, ...]
) -> dict[str, Any]:
    at = datetime.now(UTC).isoformat()
    text = f"<p>Заказ {number} готов.</p><p>.<br>..точки</p>" + f"<p>{'Строка письма. ' * 5}</p>" * (number % 17)
    task: dict[str, Any] = {"id": f"task-{number}", "title": f"Заказ {number}"}
    data: dict[str, Any] = {
        "account_id": customer.account_id if customer else FREE_ACCOUNT,
        "author": {"employee_id": AUTHOR},
        "task": task,
        "mailbox_id": customer.id if customer else None,
        "recipients": [{"address": address, "name": "", "role": "to"} for address in recipients],
    }
    if event_type == "task.created":
        task |= {"html": text, "created_at": at}
        data["template"] = {"id": "t-1", "has_external_address_field": True}
    else:
        data["comment"] = {"id": f"c-{number}", "html": text, "created_at": at}
    return {
        "specversion": "1.0",
        "id": f"chaos-{seed}-{number:06}",
        "source": SOURCE,
        "type": event_type,
        "time": at,
        "datacontenttype": "application/json",
        "data": data,
    }


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()

"""Dead letters for tests, as the worker and the broker bury them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.doubles.dead_queue import KeptMessage
from worker.domain.events.cloudevents import STRUCTURED

DEATH = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)
BURIED: Mapping[str, str | int] = {
    "sendas-first-seen": "2026-11-23T09:00:00+00:00",
    "sendas-attempt": 2,
    "sendas-dead-reason": "invalid_event",
    "sendas-dead-detail": "data.subject: not a string",
    "sendas-dead-at": DEATH.isoformat(),
    "sendas-dead-queue": "sendas.outbound",
}


def a_body(event_id: str = "evt-1", **data: Any) -> bytes:
    """An event as it stands in a message."""
    recipients = [{"address": "client@example.net", "role": "to"}, {"address": "second@example.net", "role": "to"}]
    return json.dumps(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": "/product/comments",
            "type": "comment.created",
            "time": "2026-11-23T09:00:00Z",
            "data": {
                "account_id": "acme",
                "mailbox_id": "mb-support",
                "task": {"id": "4711"},
                "recipients": recipients,
                **data,
            },
        }
    ).encode()


def a_dead_letter(event_id: str = "evt-1", headers: Mapping[str, object] | None = None, **data: Any) -> KeptMessage:
    """A letter that the worker buried; `headers` are set beside those of the burial."""
    return KeptMessage(0, a_body(event_id, **data), {**BURIED, **(headers or {})}, {"content_type": STRUCTURED})


def a_letter_the_broker_gave_up(event_id: str = "evt-1", queue: str = "sendas.outbound") -> KeptMessage:
    """A letter on which workers died until the work queue's delivery limit; it had waited in a delay queue before."""
    deaths = [
        {
            "reason": "delivery_limit",
            "queue": queue,
            "time": DEATH,
            "count": 1,
            "exchange": "",
            "routing-keys": [queue],
        },
        {
            "reason": "expired",
            "queue": "sendas.outbound.delay.30s",
            "time": DEATH - timedelta(minutes=5),
            "count": 1,
            "exchange": "",
            "routing-keys": ["sendas.outbound.delay.30s"],
        },
    ]
    headers = {"x-death": deaths, "x-first-death-queue": queue, "x-delivery-count": 3}
    return KeptMessage(0, a_body(event_id), headers, {"content_type": STRUCTURED, "message_id": "m-1"})

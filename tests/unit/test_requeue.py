"""Messages that go back to the broker."""

import json
from datetime import UTC, datetime

from tests.builders import a_comment_event
from tests.delivery_world import TOPOLOGY, an_arrival
from worker.delivery import requeue
from worker.delivery.messages import Arrival
from worker.domain.events.cloudevents import parse
from worker.domain.vocabulary import Reason

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def arrival_with(**headers: object) -> Arrival:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Arrival(TOPOLOGY.outbound, b"{}", named, "application/json")


def test_headers_of_the_broker_do_not_go_round() -> None:
    """With them it sees a cycle, and drops the message in silence."""
    arrival = arrival_with(x_death=[{"count": 1}], x_first_death_queue="q", x_delivery_count=3, custom="kept")

    later = requeue.later(arrival, {"sendas-attempt": 1}, TOPOLOGY, 30)

    assert dict(later.headers) == {"custom": "kept", "sendas-attempt": 1}
    assert later.routing_key == "sendas.outbound.delay.30s"
    assert later.must_route


def test_how_often_a_letter_was_replayed_is_not_forgotten_when_it_waits() -> None:
    """Else the guard against replaying in a circle would see only letters that die at once."""
    later = requeue.later(arrival_with(sendas_replays=2, sendas_attempt=3), {}, TOPOLOGY, 30)
    assert dict(later.headers) == {"sendas-replays": "2"}


def test_what_is_left_of_the_work_replaces_what_was_left_before() -> None:
    arrival = arrival_with(sendas_attempt=3, sendas_recipients="0-7")
    assert dict(requeue.later(arrival, {"sendas-attempt": 4}, TOPOLOGY, 30).headers) == {"sendas-attempt": 4}


def test_an_event_in_binary_mode_is_the_same_event_after_its_journey() -> None:
    """AMQP has types of its own for times, bytes and numbers; turned into text, they must still be read the same."""
    event = an_arrival(a_comment_event())
    document = json.loads(event.body)
    headers = {
        "cloudEvents_specversion": "1.0",
        "cloudEvents_id": b"evt-1",
        "cloudEvents_source": "/product/comments",
        "cloudEvents_type": "comment.created",
        "cloudEvents_time": datetime(2026, 11, 23, 12, 0, 0),  # noqa: DTZ001 - as pamqp decodes a timestamp
    }
    body = json.dumps(document["data"]).encode()
    arrival = Arrival(TOPOLOGY.outbound, body, headers, "application/json")
    before = parse(arrival.headers, arrival.content_type, arrival.body)

    later = requeue.later(arrival, {}, TOPOLOGY, 30)

    assert parse(dict(later.headers), later.content_type, later.body) == before


def test_a_dead_letter_says_why_when_where_from_and_what_was_left() -> None:
    arrival = arrival_with(sendas_attempt=2, sendas_copy="{}", x_death=[])
    death = requeue.DeadLetterReason(Reason.INVALID_EVENT, "wrong\r\nline" + "x" * 1000, NOON)

    dead = requeue.dead(arrival, TOPOLOGY, death)

    assert dead.routing_key == TOPOLOGY.dead
    assert dead.headers["sendas-dead-reason"] == "invalid_event"
    assert str(dead.headers["sendas-dead-detail"]).startswith("wrong line")
    assert len(str(dead.headers["sendas-dead-detail"])) == 500
    assert dead.headers["sendas-dead-queue"] == TOPOLOGY.outbound
    assert (dead.headers["sendas-attempt"], dead.headers["sendas-copy"]) == (2, "{}")
    assert dead.headers["sendas-first-seen"] == dead.headers["sendas-dead-at"] == NOON.isoformat()

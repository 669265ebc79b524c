"""What is read of an invalid event so that its failure can be told."""

import json
from typing import Any

import pytest

from tests import golden
from tests.contract_examples import event_examples
from worker.domain.events.cloudevents import TraceContext, parse
from worker.domain.events.partial import Salvaged, salvage
from worker.domain.vocabulary import EventType
from worker.errors import InvalidEvent


def invalid(**changes: Any) -> dict[str, Any]:
    """The comment of the examples with other data; recipients who are no list unless told otherwise."""
    example = event_examples(EventType.COMMENT_CREATED)[0]
    return example | {"data": example["data"] | {"recipients": 5} | changes}


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


def test_all_that_is_readable_is_read() -> None:
    recipients = [{"address": "a@b.example"}, {"address": "not one"}, 7, {"address": "c@d.example", "role": "wrong"}]
    body = encoded(invalid(recipients=recipients))
    with pytest.raises(InvalidEvent):
        parse({}, None, body)
    example = event_examples(EventType.COMMENT_CREATED)[0]
    assert salvage({}, None, body) == Salvaged(
        id=example["id"],
        source=example["source"],
        type="comment.created",
        account_id="acme",
        task_id="4711",
        comment_id="c-99",
        addresses=("a@b.example", "c@d.example"),
        trace=TraceContext(example["traceparent"]),
    )


def test_an_unknown_type_is_salvaged_with_its_name() -> None:
    salvaged = salvage({}, None, encoded(invalid() | {"type": "comment.deleted"}))
    assert salvaged is not None
    assert salvaged.type == "comment.deleted"


def test_an_unreadable_body_is_salvaged_by_its_doubled_headers() -> None:
    """If the body is cut off but the headers are whole, then the event can still be named."""
    headers: dict[str, object] = {
        "ce-id": b"1",
        "ce-source": "/s",
        "ce-type": "comment.created",
        "ce-specversion": "1.0",
    }
    assert salvage(headers, "application/cloudevents+json", b'{"id": "1", "da') == Salvaged(
        "1", "/s", "comment.created"
    )


def test_a_binary_event_is_salvaged_from_headers_and_body() -> None:
    headers: dict[str, object] = {"cloudEvents:id": "1", "cloudEvents:source": "/s", "cloudEvents:type": "task.created"}
    salvaged = salvage(headers, "application/json", encoded({"account_id": "acme", "task": {"id": "4711"}}))
    assert salvaged == Salvaged("1", "/s", "task.created", account_id="acme", task_id="4711")


@pytest.mark.parametrize("missing", ["id", "source", "type"])
def test_without_an_identity_there_is_nothing_to_tell(missing: str) -> None:
    document = invalid()
    del document[missing]
    assert salvage({}, None, encoded(document)) is None


@pytest.mark.parametrize("name", golden.names("invalid"))
def test_no_golden_invalid_message_makes_it_raise(name: str) -> None:
    message = golden.message("invalid", name)
    salvaged = salvage(message.headers, message.content_type, message.body)
    assert salvaged is None or (salvaged.id and salvaged.source and salvaged.type)

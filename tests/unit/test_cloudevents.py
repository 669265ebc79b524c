"""Messages of the golden corpus: what was accepted once stays accepted, what is refused says why."""

import json
from typing import Any

import pytest
from pydantic import TypeAdapter

from tests import golden
from tests.contract_examples import event_examples
from worker.domain.events.cloudevents import MAX_ERROR_CHARS, parse
from worker.domain.events.models import MAX_HTML_CHARS, Event
from worker.domain.events.partial import salvage
from worker.domain.events.strict_json import read_json
from worker.domain.snapshot.model import Snapshot
from worker.domain.vocabulary import EventType
from worker.errors import InvalidEvent

_EVENT: TypeAdapter[Event[Any]] = TypeAdapter(Event[Any])


def assert_contains(found: Any, expected: Any, path: str = "event") -> None:
    """Everything that is expected is found; more may be."""
    if isinstance(expected, dict):
        for name, value in expected.items():
            assert_contains(found[name], value, f"{path}.{name}")
    elif isinstance(expected, list) and len(found) == len(expected):
        for index, value in enumerate(expected):
            assert_contains(found[index], value, f"{path}[{index}]")
    else:
        assert found == expected, path


def as_json(event: Event[Any]) -> Any:
    return json.loads(json.dumps(_EVENT.dump_python(event, mode="json")))


@pytest.mark.parametrize("name", golden.names("events"))
def test_a_golden_event_is_read_in_the_same_way_for_ever(name: str) -> None:
    message = golden.message("events", name)
    event = parse(message.headers, message.content_type, message.body)
    assert_contains(as_json(event), message.document["expected"])


@pytest.mark.parametrize("name", golden.names("invalid"))
def test_a_golden_invalid_message_is_refused_in_the_words_beside_it(name: str) -> None:
    message = golden.message("invalid", name)
    with pytest.raises(InvalidEvent) as refusal:
        parse(message.headers, message.content_type, message.body)
    assert str(refusal.value) == message.document["error"]
    assert len(str(refusal.value)) <= MAX_ERROR_CHARS


@pytest.mark.parametrize("name", golden.names("snapshots"))
def test_a_golden_snapshot_is_read_for_ever(name: str) -> None:
    document = json.loads(golden.raw("snapshots", name))
    snapshot = Snapshot.model_validate_json(golden.raw("snapshots", name))
    assert snapshot.version == document["version"]
    assert [account.id for account in snapshot.accounts] == [account["id"] for account in document["accounts"]]


def test_the_same_event_in_each_mode_has_the_same_identity_and_data() -> None:
    """If a producer changes from structured to binary mode, then a repeat is still the same event."""
    structured = golden.message("events", "comment_created")
    binary = golden.message("events", "binary_cloudevents_colon")
    events = [parse(each.headers, each.content_type, each.body) for each in (structured, binary)]
    assert events[0] == events[1]
    assert events[0].key == events[1].key


def test_the_largest_html_is_accepted_and_one_character_more_is_not() -> None:
    example = event_examples(EventType.COMMENT_CREATED)[0]
    for excess, is_accepted in ((0, True), (1, False)):
        comment = example["data"]["comment"] | {"html": "x" * (MAX_HTML_CHARS + excess)}
        body = json.dumps(example | {"data": example["data"] | {"comment": comment}}).encode()
        if is_accepted:
            parse({}, None, body)
        else:
            with pytest.raises(InvalidEvent, match=r"^data\.comment\.html: "):
                parse({}, None, body)


def test_many_repeated_keys_are_found_in_time_linear_in_the_body() -> None:
    """If an attacker repeats one of 20,000 keys, then the refusal comes without comparing each with each."""
    keys = ",".join(f'"k{number}":1' for number in range(20_000))
    with pytest.raises(InvalidEvent, match="the key 'k19999' stands twice"):
        parse({}, None, f'{{{keys},"k19999":1}}'.encode())


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"[" + b"{}," * 300_000 + b"{}]", "body: more than 25000 values"),
        (b'{"recipients":[' + b"0," * 300_000 + b"0]}", "body: more than 25000 values"),
        (b"[" * 65 + b"]" * 65, "body: nested too deeply"),
        (b'{"a":' * 65 + b"0" + b"}" * 65, "body: nested too deeply"),
        (b"[" * 100_000, "body: nested too deeply"),
        (b"[1" + b"0" * 5_000 + b"]", "body: a number with too many digits"),
        (b"[0." + b"0" * 5_000 + b"]", "body: a number with too many digits"),
    ],
    ids=["objects", "numbers", "arrays in arrays", "objects in objects", "only brackets", "whole", "fraction"],
)
def test_what_is_too_deep_or_too_much_is_refused_before_it_is_decoded(body: bytes, problem: str) -> None:
    with pytest.raises(InvalidEvent, match=problem):
        parse({}, None, body)


@pytest.mark.parametrize(
    "text", ["[{,]}" * 20_000, '\\"[' * 20_000, "\\" * 20_001], ids=["brackets", "quotes", "backslashes"]
)
def test_what_stands_in_texts_does_not_count(text: str) -> None:
    """If the HTML of a letter is full of commas and brackets, then it is read all the same."""
    assert read_json(json.dumps({"html": text, "depth": [[]] * 10}).encode()) == {"html": text, "depth": [[]] * 10}


def test_the_deepest_and_the_most_that_is_allowed_is_read() -> None:
    assert read_json(b"[" * 64 + b"]" * 64)
    assert read_json(json.dumps([0] * 24_999).encode()) == [0] * 24_999
    with pytest.raises(InvalidEvent):
        read_json(json.dumps([0] * 25_001).encode())


def test_an_event_with_a_million_recipients_is_refused_and_its_sender_is_told() -> None:
    """If an event has far more in it than is read, then it is still known whose it is."""
    document: dict[str, Any] = json.loads(golden.message("events", "comment_created").body)
    document["data"]["recipients"] = [{}] * 1_000_000
    salvaged = salvage({}, None, json.dumps(document).encode())
    assert salvaged is not None
    assert (salvaged.id, salvaged.account_id) == (document["id"], document["data"]["account_id"])

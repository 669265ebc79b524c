"""Whatever arrives is an event or a refusal, and a refusal never repeats what arrived."""

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract_examples import event_examples
from worker.domain.events.cloudevents import MAX_ERROR_CHARS, STRUCTURED, parse
from worker.domain.events.models import Event
from worker.domain.events.partial import salvage
from worker.domain.vocabulary import EventType
from worker.errors import InvalidEvent

unhurried = settings(deadline=None)  # a busy machine is no failure

NAMES = st.sampled_from(["specversion", "id", "source", "type", "time", "data", "data_base64", "datacontenttype", "x"])
TEXT = st.text(st.characters(), max_size=20)  # with surrogates: JSON can escape them
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | TEXT, inner, max_size=6),
    max_leaves=20,
)
HEADER_NAMES = st.builds(str.__add__, st.sampled_from(["ce-", "CE-", "cloudEvents_", "cloudEvents:", ""]), NAMES | TEXT)
HEADERS: st.SearchStrategy[dict[str, object]] = st.dictionaries(
    HEADER_NAMES | st.just("traceparent"),
    st.sampled_from(["1.0", "comment.created", "task.created", "2026-11-23T10:00:00Z"])
    | st.binary(max_size=10)
    | st.datetimes()
    | st.datetimes(timezones=st.just(UTC))
    | JSON,
    max_size=8,
)
CONTENT_TYPES = st.sampled_from([STRUCTURED, "application/json", None, f"{STRUCTURED}; charset=utf-8", ""]) | TEXT
EXAMPLES = [example for event_type in EventType for example in event_examples(event_type)]


def check(headers: dict[str, object], content_type: str | None, body: bytes) -> str | None:
    """Parse; the text of the refusal if there was one. Nothing else may be raised, by salvaging neither."""
    salvage(headers, content_type, body)
    try:
        event = parse(headers, content_type, body)
    except InvalidEvent as refusal:
        text = str(refusal)
        assert len(text) <= MAX_ERROR_CHARS
        assert "\n" not in text
        text.encode()
        return text
    assert isinstance(event, Event)
    assert event.key
    assert event.time.astimezone(UTC) >= datetime(1969, 12, 31, tzinfo=UTC)
    return None


@unhurried
@given(HEADERS, CONTENT_TYPES, st.binary(max_size=200))
def test_arbitrary_bytes_are_an_event_or_a_refusal(
    headers: dict[str, object], content_type: str | None, body: bytes
) -> None:
    check(headers, content_type, body)


@unhurried
@given(HEADERS, CONTENT_TYPES, JSON)
def test_arbitrary_json_is_an_event_or_a_refusal(
    headers: dict[str, object], content_type: str | None, body: Any
) -> None:
    check(headers, content_type, json.dumps(body).encode())


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a document."""
    yield path
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, value in inner:
        yield from places(value, (*path, name))


@st.composite
def damaged_events(draw: st.DrawFn, value: st.SearchStrategy[Any]) -> Any:
    """An example with another value at one place."""
    document = copy.deepcopy(draw(st.sampled_from(EXAMPLES)))
    *before, last = draw(st.sampled_from([path for path in places(document) if path]))
    node = document
    for part in before:
        node = node[part]
    node[last] = draw(value)
    return document


@unhurried
@given(damaged_events(JSON))
def test_an_event_with_one_value_replaced_is_an_event_or_a_refusal(document: Any) -> None:
    check({}, STRUCTURED, json.dumps(document).encode())


@unhurried
@given(
    damaged_events(st.sampled_from(["canary", "canary@", "ca nary@canary.example", "https://[canary", "a@-canary-.b"]))
)
def test_a_refusal_never_repeats_the_value_that_it_refuses(document: Any) -> None:
    """If a password stands where something else belongs, then no log has it. The name of an unknown type is shown."""
    text = check({}, STRUCTURED, json.dumps(document).encode())
    assert text is None or "canary" not in text or text.startswith("type: ")


@unhurried
@given(damaged_events(st.text(max_size=30)))
def test_what_is_accepted_in_structured_mode_is_the_same_event_in_binary_mode(document: Any) -> None:
    """If a producer changes the mode, then what was accepted stays accepted and is the same event."""
    try:
        expected = parse({}, STRUCTURED, json.dumps(document).encode())
    except InvalidEvent:
        return
    headers = {f"ce-{name}": value for name, value in document.items() if name not in ("data", "datacontenttype")}
    assert parse(headers, "application/json", json.dumps(document["data"]).encode()) == expected

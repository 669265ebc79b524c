"""Records from results: what is read of them, what is bounded, and what is refused."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from worker.domain.vocabulary import ResultType
from worker.errors import InvalidEvent
from worker.history.addresses import AddressPolicy
from worker.history.model import MAX_KEY_CHARS, InvalidSearch, Record, Search, key
from worker.history.reading import MAX_BODY_CHARS, read_result
from worker.operations.contract_examples import result_example

NOW = datetime(2030, 1, 1, tzinfo=UTC)
POLICY = AddressPolicy()


def a_document(result_type: ResultType = ResultType.MAIL_DEFERRED) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(result_example(result_type).to_json())
    return document


def read(document: Any) -> Record:
    return read_result(json.dumps(document).encode(), POLICY, NOW)


@pytest.mark.parametrize("result_type", ResultType)
def test_every_result_of_ours_is_read(result_type: ResultType) -> None:
    """If the worker publishes it, then the history keeps all of its data, and finds it by what it is about."""
    document = a_document(result_type)
    data = document["data"]
    record = read(document)
    assert (record.id, record.type, record.at) == (
        document["id"],
        result_type,
        datetime.fromisoformat(document["time"]),
    )
    assert record.body.keys() == data.keys()
    for name in ("account_id", "event_id", "task_id", "comment_id", "message_id", "reason"):
        assert getattr(record, name) == data.get(name)
    of_sender = (data.get("sender") or {}).get("mailbox_id")
    assert record.mailbox_id == (data.get("mailbox_id") or of_sender)
    for recipient in data.get("recipients", ()):
        assert POLICY.kept(recipient["address"]) in record.addresses


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"id": None}, "id: missing"),
        ({"id": ""}, "id: missing"),
        ({"id": 7}, "id: missing"),
        ({"type": None}, "type: missing"),
        ({"data": None}, "data: not an object"),
        ({"data": []}, "data: not an object"),
        ({"time": None}, "time: not a date"),
        ({"time": "yesterday"}, "time: not a date"),
        ({"time": "2026-07-01T12:00:00"}, "time: not a date"),
        ({"time": "1969-12-31T23:59:59Z"}, "time: not a date"),
        ({"time": "0001-01-01T00:00:00+23:59"}, "time: not a date"),
        ({"time": "9" * 10_000}, "time: not a date"),
        ({"time": (NOW + timedelta(days=2)).isoformat()}, "time: more than a day in the future"),
    ],
)
def test_what_is_no_result_is_refused_and_not_repeated(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidEvent, match=f"^{complaint}"):
        read({**a_document(), **change})


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b"{", b"\xff", b'{"a":1,"a":1}', b"[" * 100_000, b'{"id":NaN}'])
def test_bytes_that_are_none_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidEvent):
        read_result(body, POLICY, NOW)


@pytest.mark.parametrize("value", [7, [], {}, True, "", None, {"address": []}, [None, "x", {"address": 7}]])
def test_members_of_another_shape_are_no_reason_to_lose_a_result(value: object) -> None:
    """If a later version publishes other shapes, then the result is kept all the same."""
    names = ("account_id", "event_id", "sender", "recipients", "address", "mailbox_id", "reason")
    record = read({**a_document(), "data": dict.fromkeys(names, value)})
    assert record.account_id is None
    assert record.addresses == ()


def test_a_letter_to_a_thousand_is_found_by_each_of_them() -> None:
    document = a_document()
    document["data"]["recipients"] = [{"address": f"p{number}@customer.example"} for number in range(1_000)]
    record = read(document)
    assert len(record.addresses) == 1_000 + 1  # and the sender
    assert len(record.body["recipients"]) == 1_000  # type: ignore[arg-type]  # it is a list
    assert "left_out" not in record.body


@pytest.mark.parametrize(
    ("data", "left_out"),
    [
        (
            {"recipients": [{"address": "a@b.example", "reply": {"text": "x" * 1_900}}] * 900},
            ["recipients: 800 of 900"],
        ),
        ({"recipients": [{"address": "x" * 4_000}] * 900}, ["recipients: 800 of 900", "recipients"]),
        ({"detail": "x" * 5_000_000, "account_id": "acme"}, ["detail"]),
        ({"x" * 1_000_000: 1}, ["all"]),
        ({f"a member with a longer name, number {number}": number for number in range(20_000)}, ["all"]),
    ],
    ids=["replies", "recipients", "text", "name", "members"],
)
def test_what_is_kept_is_bounded_and_says_what_is_missing(data: dict[str, Any], left_out: list[str]) -> None:
    record = read({**a_document(), "data": data})
    assert record.body["left_out"] == left_out
    assert len(json.dumps(record.body)) < MAX_BODY_CHARS + 1_000


@pytest.mark.parametrize("text", ["x" * 100_000, "a\x00b", "a\nb", "\u202egnp", "\ud800", "ё" * MAX_KEY_CHARS + "x"])
def test_an_identifier_is_short_and_visible_and_still_itself(text: str) -> None:
    """If identifiers are long or tricky, then they are cut, and two that differ anywhere still differ.

    What was made of one can be searched for.
    """
    assert key(text) == key(text)
    assert len(key(text)) <= MAX_KEY_CHARS
    assert key(text).isprintable()
    assert key(text) != key(text + "x")
    assert key(text) == key(key(text))


@pytest.mark.parametrize("text", ["evt-1", "x" * MAX_KEY_CHARS, "Пример №1"])
def test_a_usual_identifier_stays_as_it_is(text: str) -> None:
    assert key(text) == text


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 0},
        {"limit": 501},
        {"since": NOW.replace(tzinfo=None)},
        {"until": NOW.replace(tzinfo=None)},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_search_that_cannot_be_says_what_is_wrong(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidSearch, match=next(iter(wrong))):
        Search(**wrong)

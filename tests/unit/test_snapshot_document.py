"""Reading a document piece by piece."""

import io
import json
from typing import Any

import pytest

from worker.adapters.snapshot.parser import MAX_DEPTH, Element, Member, read_document
from worker.adapters.snapshot.problems import Refusal, RefusedDocument


class _Dripping(io.StringIO):
    """Gives a few characters at a time, so that many places are once the end of what was read."""

    def __init__(self, text: str, step: int) -> None:
        super().__init__(text)
        self._step = step

    def read(self, size: int | None = -1, /) -> str:
        return super().read(self._step)


def _read(text: str, max_value_chars: int = 1_000_000) -> list[Member | Element]:
    return list(read_document(io.StringIO(text), max_value_chars))


def _refusal(text: str, max_value_chars: int = 1_000_000) -> RefusedDocument:
    with pytest.raises(RefusedDocument) as caught:
        _read(text, max_value_chars)
    return caught.value


DOCUMENT = (
    ' { "version" : 12 , "accounts":[ {"id":"a\\"]}","x":[1,{"y":-1.5e3}]} , 17,"s"] ,"x":{"deep":[null]}, "n":34}\n'
)


def test_members_and_accounts_come_in_their_order_with_their_text() -> None:
    parts = _read(DOCUMENT)
    assert [part.text for part in parts] == [
        "12",
        '{"id":"a\\"]}","x":[1,{"y":-1.5e3}]}',
        "17",
        '"s"',
        '{"deep":[null]}',
        "34",
    ]
    assert [part.position for part in parts if isinstance(part, Element)] == [0, 1, 2]


def test_wherever_the_text_is_cut_into_chunks_the_parts_are_the_same() -> None:
    assert list(read_document(_Dripping(DOCUMENT, step=1))) == _read(DOCUMENT)


def test_what_is_just_not_too_deep_is_read() -> None:
    levels = MAX_DEPTH - 1
    text = '{"id":"a","s":"[[","x":' + "[" * levels + "]" * levels + "}"
    [element] = _read(f'{{"accounts":[{text}]}}')
    assert isinstance(element, Element)
    assert element.value is not None


def test_a_number_of_a_hundred_thousand_digits_is_read_over() -> None:
    parts = _read('{"accounts":[{"id":"a","x":' + "7" * 100_000 + "}]}")
    assert isinstance(parts[0], Element)
    assert parts[0].value == {"id": "a", "x": 0}


@pytest.mark.parametrize("levels", [MAX_DEPTH, 1_100])
@pytest.mark.parametrize("is_dripping", [False, True])
def test_an_account_nested_too_deeply_is_stepped_over_and_the_next_one_is_read(is_dripping: bool, levels: int) -> None:
    deep = '{"id":"a","s":"]\\"}","x":' + "[" * levels + "]" * levels + "}"
    text = f'{{"accounts":[{deep},{{"id":"b"}}]}}'
    stream = _Dripping(text, step=7) if is_dripping else io.StringIO(text)
    first, second = list(read_document(stream))
    assert first == Element(0, deep, None)
    assert second == Element(1, '{"id":"b"}', {"id": "b"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ends too early"),
        ("[]", "'{' is expected"),
        ("{", "a name in quotation marks"),
        ('{"accounts":[]', "ends too early"),
        ('{"accounts":[', "Expecting value"),
        ('{"accounts":[{"id":"a"}', "ends too early"),
        ('{"accounts":[{"id":"a"', "Expecting ',' delimiter"),
        ('{"accounts":[],}', "a name in quotation marks"),
        ('{"accounts":[,]}', "Expecting value"),
        ('{"accounts":[1,]}', "Expecting value"),
        ('{"accounts":[]} {}', "something follows"),
        ('{"accounts":[],"accounts":[]}', "'accounts' stands more than once"),
        ('{"x" 1}', "':' is expected"),
        ('{"x":' + "[" * 3_000 + "]" * 3_000 + "}", "nested too deeply"),
    ],
)
def test_what_is_not_json_is_refused_with_what_is_missing_where(text: str, message: str) -> None:
    refused = _refusal(text)
    assert refused.refusal is Refusal.UNREADABLE
    assert message in str(refused)
    assert "at character" in str(refused)


def test_the_place_of_a_mistake_is_counted_from_the_beginning_of_the_document() -> None:
    text = '{"accounts":[' + '{"id":"a"},' * 120_000 + '{"id" "b"}]}'
    assert f"at character {text.index(' ' + chr(34) + 'b') + 1}" in str(_refusal(text))


@pytest.mark.parametrize("document", [{}, {"accounts": None}, {"accounts": {}}, {"accounts": "x"}])
def test_a_document_without_a_list_of_accounts_is_invalid(document: dict[str, Any]) -> None:
    assert _refusal(json.dumps(document)).refusal is Refusal.INVALID


def test_a_value_longer_than_allowed_is_refused_before_it_is_read_whole() -> None:
    text = '{"accounts":[{"id":"' + "x" * 5_000_000 + '"}]}'
    assert _refusal(text, max_value_chars=1_000).refusal is Refusal.TOO_LARGE

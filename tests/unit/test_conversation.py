"""What a letter says it answers."""

import pytest

from worker.domain.events.models import Thread
from worker.domain.letter.compose import MAX_REFERENCES, MAX_REFERENCES_CHARS, parent, references

A, B, C = "<a@x.example>", "<b@x.example>", "<c@x.example>"


def test_if_a_letter_answers_nothing_there_is_no_conversation() -> None:
    assert parent(Thread()) is None
    assert references(Thread()) == []


def test_the_parent_is_the_last_reference_also_when_the_event_does_not_list_it() -> None:
    assert references(Thread(in_reply_to=C, references=(A, B))) == [A, B, C]
    assert references(Thread(in_reply_to=C, references=(A, B, C))) == [A, B, C]
    assert references(Thread(in_reply_to=A, references=(A, B))) == [B, A]
    assert references(Thread(in_reply_to=A)) == [A]
    assert references(Thread(references=(A, B))) == [A, B]


def test_if_a_reference_is_repeated_it_stands_once() -> None:
    assert references(Thread(references=(A, B, B, A, C, C))) == [A, B, C]


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "a@x.example",
        "<>",
        "<a b@x.example>",
        "<a@x.example>\r\nBcc: eve@x.example",
        "<a@x.example> <b@x.example>",
        "<a@x.example",
        "<<a@x.example>>",
        "<я@x.example>",
        "<=?utf-8?q?a?=@x.example>",
        f"<{'a' * 990}@x.example>",
        "<a@x.example>\n",
    ],
    ids=ascii,
)
def test_a_malformed_id_is_left_out(malformed: str) -> None:
    assert parent(Thread(in_reply_to=malformed)) is None
    assert references(Thread(references=(malformed, A, malformed))) == [A]


@pytest.mark.parametrize(
    "odd", ["<a$b!c@[127.0.0.1]>", "<a@b@c>", "<a..b:1@host_name>", " <a@x.example> ", "<5f3c9a7e1b>", "<a@>"]
)
def test_an_odd_id_that_programs_do_write_is_kept(odd: str) -> None:
    assert parent(Thread(in_reply_to=odd)) == odd.strip()


def test_of_ten_thousand_references_the_first_and_the_last_are_kept() -> None:
    ids = [f"<{n}@x.example>" for n in range(10_000)]
    kept = references(Thread(in_reply_to="<parent@x.example>", references=tuple(ids)))
    assert kept == [ids[0], *ids[-(MAX_REFERENCES - 2) :], "<parent@x.example>"]
    assert len(kept) == MAX_REFERENCES


def test_if_the_ids_are_long_fewer_are_kept() -> None:
    ids = [f"<{n:0900}@x.example>" for n in range(100)]
    kept = references(Thread(in_reply_to=ids[-1], references=tuple(ids)))
    assert kept[0] == ids[0]
    assert kept[1:] == ids[-len(kept) + 1 :]
    assert len(kept) > 5
    assert sum(map(len, kept)) <= MAX_REFERENCES_CHARS

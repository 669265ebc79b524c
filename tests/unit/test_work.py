"""Work in headers: what is written is read again, and what only a hand can have written is refused."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.letter.model import LetterMode
from worker.domain.work import Work, format_positions, parse_positions, read_work

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
moments = st.integers(0, 10**8).map(lambda seconds: NOW - timedelta(seconds=seconds))
words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=100)


@given(
    st.builds(
        Work,
        first_seen=moments,
        attempts=st.integers(0, 100),
        mode=st.none() | st.sampled_from(LetterMode),
        recipients=st.none() | st.sets(st.integers(0, 999), min_size=1).map(lambda found: tuple(sorted(found))),
        last_reason=st.none() | words,
        last_reply=st.none() | words,
        turn=st.none() | moments,
        sender_missing_since=st.none() | moments,
    )
)
def test_what_is_written_is_read_again(work: Work) -> None:
    assert read_work(work.headers(), NOW) == work


def test_a_message_fresh_from_the_product_is_first_seen_now() -> None:
    assert read_work({"ce-id": "1"}, NOW) == Work(NOW)


def test_a_clock_that_is_ahead_makes_no_letter_younger_than_new() -> None:
    ahead = Work(NOW + timedelta(hours=1))
    assert read_work(ahead.headers(), NOW).first_seen == NOW


def test_a_thousand_recipients_fit_into_a_header() -> None:
    assert format_positions(range(1000)) == "0-999"
    assert len(format_positions(range(0, 1000, 2))) < 3000


def test_long_words_of_a_server_are_cut_so_that_headers_fit_into_a_frame() -> None:
    headers = Work(NOW, last_reason="r" * 10**6, last_reply="x" * 10**6).headers()
    assert sum(len(str(value)) for value in headers.values()) < 4000


@pytest.mark.parametrize("text", ["", "x", "-1", "3-1", "1,1", "5,2", "0-9999,0-9999", "1-", "0-10000", "1,,2"])
def test_positions_that_nobody_wrote_are_refused(text: str) -> None:
    """Also because overlapping ranges could fill the memory."""
    with pytest.raises(ValueError, match=r".+"):
        parse_positions(text)


@given(st.text())
def test_whatever_stands_there_is_read_or_refused(text: str) -> None:
    try:
        positions = parse_positions(text)
    except ValueError:
        return
    assert list(positions) == sorted(set(positions))

"""Rates: whatever is asked for and when, no stretch of time holds more than its limit, and nobody waits in vain."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.domain.rate_window import DAY, MINUTE, Counts, Window, counts_of, text_of

BEGIN = datetime(2026, 11, 23, 10, 0, 1, 700_000, tzinfo=UTC)

gaps = st.lists(st.floats(0, 40), min_size=1, max_size=80)
windows = st.sampled_from((MINUTE, Window(60, 7), Window(10, 1)))


@given(gaps, st.integers(1, 12), windows, st.data())
def test_no_stretch_of_time_holds_more_than_the_limit(
    waits: list[float], limit: int, window: Window, data: st.DataObject
) -> None:
    """Not even when the server sees each letter some moments after it was let through."""
    now, seen = BEGIN, list[tuple[datetime, int]]()
    counts: Counts = ()
    for wait_s in waits:
        now += timedelta(seconds=wait_s / 10)
        number = data.draw(st.integers(1, limit))
        if window.free_at(counts, now, limit, number) is None:
            counts = window.added(counts, now, number)
            late_s = data.draw(st.floats(0, window.slot_s * 0.99))
            seen.append((now + timedelta(seconds=late_s), number))
    for begin, _ in seen:
        end = begin + timedelta(seconds=window.span_s)
        assert sum(number for at, number in seen if begin <= at < end) <= limit


@given(gaps, st.integers(1, 12), st.integers(1, 12))
def test_the_moment_that_is_told_is_one_at_which_there_is_room_and_not_one_before(
    waits: list[float], limit: int, wanted: int
) -> None:
    now = BEGIN
    counts: Counts = ()
    for wait_s in waits:
        now += timedelta(seconds=wait_s / 20)
        if MINUTE.free_at(counts, now, limit, 1) is None:
            counts = MINUTE.added(counts, now, 1)
    free_at = MINUTE.free_at(counts, now, limit, wanted)
    if free_at is not None:
        assert now < free_at <= now + timedelta(seconds=66)
        assert MINUTE.free_at(counts, free_at, limit, wanted) is None
        assert MINUTE.free_at(counts, free_at - timedelta(milliseconds=1), limit, wanted) is not None


@pytest.mark.parametrize(("window", "longest_s"), [(MINUTE, 66), (DAY, 25 * 3600)])
def test_counting_in_slots_costs_little(window: Window, longest_s: int) -> None:
    """If a limit is used up at once, then it is free again soon after the stretch has passed."""
    counts = window.added((), BEGIN, 5)
    free_at = window.free_at(counts, BEGIN, 5, 1)

    assert free_at is not None
    assert timedelta(seconds=window.span_s) < free_at - BEGIN <= timedelta(seconds=longest_s)


def test_more_than_the_limit_is_let_through_alone() -> None:
    assert DAY.free_at((), BEGIN, 100, 500) is None
    assert DAY.free_at(DAY.added((), BEGIN, 1), BEGIN, 100, 500) is not None


def test_what_is_taken_back_does_not_count() -> None:
    counts = DAY.added((), BEGIN, 60)
    assert DAY.added(counts, BEGIN, -60) == ()
    assert DAY.added(counts, BEGIN, -100) == ()


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 10**6)), max_size=50).map(tuple))
def test_counts_are_kept_as_a_short_text(counts: Counts) -> None:
    assert counts_of(text_of(counts)) == counts


def test_the_texts_of_the_longest_counts_stay_short() -> None:
    counts: Counts = ()
    for minute in range(3 * 24 * 60):
        counts = DAY.added(counts, BEGIN + timedelta(minutes=minute), 30)
    assert len(text_of(counts)) < 800

"""When a letter is tried again."""

from datetime import UTC, datetime, timedelta

import pytest

from worker.domain.backoff import (
    BACKLOG_LEVELS_S,
    PAUSE_LEVELS_S,
    backlog_level_s,
    is_expired,
    level_name,
    pause_level_s,
    retry_level_s,
    waiting_level_s,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_attempts_are_further_and_further_apart_and_then_every_two_hours() -> None:
    assert [retry_level_s(attempts) for attempts in range(1, 9)] == [30, 120, 600, 1800, 3600, 7200, 7200, 7200]


@pytest.mark.parametrize(
    ("wait_s", "level_s"), [(0, 5), (4.9, 5), (29, 5), (30, 30), (119, 30), (3600, 3600), (10**6, 7200)]
)
def test_a_pause_is_never_overslept_by_more_than_the_shortest_wait(wait_s: float, level_s: int) -> None:
    assert pause_level_s(wait_s) == level_s


def test_what_waits_for_somebody_is_looked_at_less_often_as_it_grows_older() -> None:
    assert [waiting_level_s(age_s) for age_s in (0, 600, 3600, 24 * 3600)] == [30, 30, 120, 7200]


def test_a_letter_expires_at_its_age_and_not_before() -> None:
    assert not is_expired(NOON, NOON + timedelta(seconds=99), 100)
    assert is_expired(NOON, NOON + timedelta(seconds=100), 100)


def test_levels_have_names_that_people_say() -> None:
    assert [level_name(level_s) for level_s in BACKLOG_LEVELS_S[3:6]] == ["1m", "2m", "5m"]
    assert [level_name(level_s) for level_s in PAUSE_LEVELS_S] == ["5s", "30s", "2m", "10m", "30m", "1h", "2h"]


@pytest.mark.parametrize(
    ("wait_s", "level_s"), [(0, 5), (9, 5), (29, 10), (30, 30), (599, 300), (600, 600), (1_799, 600)]
)
def test_a_letter_with_a_turn_is_not_made_late(wait_s: float, level_s: int) -> None:
    assert {backlog_level_s(wait_s, spread) for spread in range(6)} == {level_s}


def test_letters_with_far_turns_do_not_all_come_back_at_the_same_time() -> None:
    """If 70,000 letters begin to wait for hours within a minute, then not one minute sees all of them again."""
    assert [backlog_level_s(20_000, spread) for spread in range(6)] == [1_800, 3_600, 7_200] * 2
    assert {backlog_level_s(2_700, spread) for spread in range(6)} == {600, 1_800}

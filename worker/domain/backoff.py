"""When a letter is retried: the levels of waiting, and which one follows."""

from collections.abc import Sequence
from datetime import datetime, timedelta

RETRY_LEVELS_S = (30, 120, 600, 1_800, 3_600, 7_200)
"""Waiting times between attempts, in seconds; the last one repeats until the letter is too old."""

PAUSE_LEVELS_S = (5, *RETRY_LEVELS_S)
"""Waiting times when no attempt was made, in seconds: the first is for a lane that is busy only for a moment."""

BACKLOG_LEVELS_S = (5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200)
"""Waiting times of backlogged letters. The closer they are together, the fewer early returns a letter makes."""

CHECK_LEVELS_S = (5, 30, 120)
"""Waiting times of check requests whose account already has its maximum of checks running."""

_SPREAD_OVER, _LONG_S = 3, 600

MAX_AGE_S = 24 * 3_600
"""Default age, in seconds, at which a letter is given up."""


def retry_level_s(attempts: int) -> int:
    """The wait after this many attempts (at least one)."""
    return RETRY_LEVELS_S[min(attempts, len(RETRY_LEVELS_S)) - 1]


def pause_level_s(wait_s: float) -> int:
    """The level for a wait of about this length: the longest that does not exceed it, at least the shortest."""
    return _longest_within(wait_s, PAUSE_LEVELS_S)


def check_level_s(wait_s: float) -> int:
    """The same for a check request."""
    return _longest_within(wait_s, CHECK_LEVELS_S)


def _longest_within(wait_s: float, levels_s: Sequence[int]) -> int:
    return max((level_s for level_s in levels_s if level_s <= wait_s), default=levels_s[0])


def backlog_level_s(wait_s: float, spread: int) -> int:
    """The level for a backlogged letter that is due in about this time: never one that would make it late.

    `spread` is a number that differs between letters: those that begin a long wait together must not all return
    together, hours later, and keep broker and workers busy.
    """
    longest_s = _longest_within(wait_s, BACKLOG_LEVELS_S)
    long_ones = [level for level in BACKLOG_LEVELS_S if _LONG_S <= level <= longest_s][-_SPREAD_OVER:]
    return long_ones[spread % len(long_ones)] if long_ones else longest_s


def waiting_level_s(age_s: float) -> int:
    """How long to wait for something that returns at an unknown time, such as a suspended mailbox.

    A tenth of the letter's age, so that no letter is late by more than that.
    """
    return pause_level_s(max(age_s / 10, RETRY_LEVELS_S[0]))


def is_expired(first_seen: datetime, now: datetime, max_age_s: float) -> bool:
    """True when the letter is too old for another attempt."""
    return now - first_seen >= timedelta(seconds=max_age_s)


def level_name(level_s: int) -> str:
    """A level as people and queue names write it: `30s`, `2m`, `1h`."""
    if level_s % 3_600 == 0:
        return f"{level_s // 3_600}h"
    return f"{level_s // 60}m" if level_s % 60 == 0 else f"{level_s}s"

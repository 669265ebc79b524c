"""A target: something that takes bytes from outside, and what must hold for any of them."""

from collections.abc import Callable
from dataclasses import dataclass

MAX_INPUT_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """What is fuzzed.

    `check` raises `AssertionError`, or what the code under test raised, when an input breaks a promise. `tokens` are
    words of the input's language, which the search would take long to find by itself.
    """

    check: Callable[[bytes], None]
    tokens: tuple[bytes, ...] = ()
    max_input_bytes: int = MAX_INPUT_BYTES


CANARY = "canary-Pa55word"
"""Stands in the corpus where secrets stand, and must not come out again."""

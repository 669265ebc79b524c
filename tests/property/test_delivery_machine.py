"""Servers of every mood, crashes at any await, workers that stand still, redeliveries, duplicates, an account that
changes its mind, an operator who replays: nobody is forgotten, nobody gets it twice unseen, nobody is called sent who
got nothing, and everything final is published."""

import asyncio

import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.doubles.moody_server import Mood
from tests.property.delivery_life import Life
from worker.domain.vocabulary import UncertainPolicy

chances = st.sampled_from((0.0, 0.1, 0.4))
moods = st.builds(Mood, chances, chances, chances, chances, chances, chances, chances)
seeds = st.integers(0, 2**32)
patiently = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@patiently
@given(seeds, moods, st.sampled_from(UncertainPolicy), st.integers(1, 12), st.booleans(), st.booleans())
def test_whatever_happens_everybody_comes_to_one_published_end(
    seed: int, mood: Mood, policy: UncertainPolicy, recipients: int, is_common: bool, provider_saves: bool
) -> None:
    _live(Life(seed, mood, policy, recipients, is_common=is_common, provider_saves=provider_saves))


@patiently
@given(seeds, st.sampled_from((0.1, 0.4)), st.sampled_from((0.1, 0.4)), st.integers(2, 3))
def test_a_copy_of_a_common_letter_never_counts_for_those_who_did_not_get_it(
    seed: int, refuses: float, crashes: float, recipients: int
) -> None:
    """Where Sent is looked into, and much is accepted for some, refused for others, and in doubt."""
    mood = Mood(refuses, 0.4, crashes, 0.1, 0.1, 0.4, 0.0)
    _live(Life(seed, mood, UncertainPolicy.CHECK, recipients, is_common=True, provider_saves=True))


def _live(life: Life) -> None:
    logging = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))  # thousands of lines otherwise
    # A loop of its own: hypothesis is synchronous, and the session's loop is at rest here.
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(life.live())
    finally:
        loop.close()
        structlog.configure(**logging)

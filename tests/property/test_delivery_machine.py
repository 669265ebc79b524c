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

EXAMPLES = 40

chances = st.sampled_from((0.0, 0.1, 0.4))
moods = st.builds(Mood, chances, chances, chances, chances, chances, chances, chances)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.integers(0, 2**32), moods, st.sampled_from(UncertainPolicy), st.integers(1, 12), st.booleans(), st.booleans())
def test_whatever_happens_everybody_comes_to_one_published_end(
    seed: int, mood: Mood, policy: UncertainPolicy, recipients: int, is_common: bool, provider_saves: bool
) -> None:
    logging = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))  # thousands of lines otherwise

    async def live() -> None:
        await Life(seed, mood, policy, recipients, is_common=is_common, provider_saves=provider_saves).live()

    # A loop of its own: hypothesis is synchronous, and the session's loop is at rest here.
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(live())
    finally:
        loop.close()
        structlog.configure(**logging)

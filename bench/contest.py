"""A contest: the same task for all, in turn, several times over; medians and ratios."""

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from statistics import median

from bench.arena import Arena
from bench.counting import TooFew, watch


@dataclass(frozen=True, slots=True)
class Contestant:
    """Whoever sends letters.

    `letters`: how many of a full round, so that all rounds take about as long. `working`: a context in which it works.
    `prepare`: puts its letters where it takes them from. What the context
    gives says how many letters it has sent. `has_results`: it takes events and publishes results, which are checked.
    `ends_clean`: when it is told to stop, it acknowledges what it has done; what others leave behind is cleared away.
    """

    name: str
    letters: int
    working: Callable[[Arena, int, str], AbstractAsyncContextManager[Callable[[], int]]]
    prepare: Callable[[Arena, int, str], Awaitable[None]] | None = None
    has_results: bool = True
    ends_clean: bool = False


async def run(arena: Arena, contestant: Contestant, count: int) -> float:
    """One run: letters a second. Raises `TooFew` when letters or results are missing."""
    name = secrets.token_hex(4)
    if contestant.prepare is not None:
        await contestant.prepare(arena, count, name)
    async with contestant.working(arena, count, name) as done:
        timeline = await watch(done, count)
        if contestant.has_results:
            await arena.audit(count, name, done)
    left = await arena.clear()
    if left and contestant.ends_clean:
        raise TooFew(f"{left} letters that were sent are in the queue again")
    return timeline.rate()


async def compete(
    arena: Arena, contestants: Sequence[Contestant], rounds: int, share: float, say: Callable[[str], None]
) -> dict[str, float]:
    """All contestants in turn, `rounds` times; the median of each. `share`: how much of a full round."""
    rates: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for number in range(1, rounds + 1):
        for contestant in contestants:
            rate = await run(arena, contestant, max(200, int(contestant.letters * share)))
            rates[contestant.name].append(rate)
            say(f"  round {number}  {contestant.name:<28} {rate:>8.0f} a second")
    return {name: median(values) for name, values in rates.items()}


def ratios(rates: Mapping[str, float], of: str) -> dict[str, float]:
    """How many times as fast one contestant is as each other."""
    return {name: rates[of] / rate for name, rate in rates.items() if name != of}

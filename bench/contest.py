"""A contest: the same task for all, in turn, several times over; medians and ratios."""

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from statistics import median

from bench.arena import Arena
from bench.counting import Timeline, TooFew, watch
from bench.processes import AtWork

_FEWEST = 200
_ROUND_S = 5.0


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
    working: Callable[[Arena, int, str], AbstractAsyncContextManager[AtWork]]
    prepare: Callable[[Arena, int, str], Awaitable[None]] | None = None
    has_results: bool = True
    ends_clean: bool = False


async def run(arena: Arena, contestant: Contestant, count: int) -> Timeline:
    """One run. Raises `TooFew` when letters or results are missing."""
    name = secrets.token_hex(4)
    if contestant.prepare is not None:
        await contestant.prepare(arena, count, name)
    async with contestant.working(arena, count, name) as at_work:
        timeline = await watch(at_work.sent, count, at_work.cpu_s)
        if contestant.has_results:
            await arena.audit(count, name, at_work.sent)
    left = await arena.clear()
    if left and contestant.ends_clean:
        raise TooFew(f"{left} letters that were sent are in the queue again")
    return timeline


async def compete(
    arena: Arena, contestants: Sequence[Contestant], rounds: int, share: float, say: Callable[[str], None]
) -> "Standings":
    """All contestants in turn, `rounds` times; the medians of each. `share`: how much of a full round.

    A first round of few letters, which does not count, says how many letters each can send in the time of a round:
    so a slow machine gives coarser figures, not a longer run.
    """
    runs: dict[str, list[Timeline]] = {contestant.name: [] for contestant in contestants}
    counts: dict[str, int] = {}
    for contestant in contestants:
        most = max(_FEWEST, int(contestant.letters * share))
        rate = (await run(arena, contestant, max(_FEWEST, most // 10))).rate()
        counts[contestant.name] = max(_FEWEST, min(most, int(rate * _ROUND_S)))
    for number in range(1, rounds + 1):
        for contestant in contestants:
            timeline = await run(arena, contestant, counts[contestant.name])
            runs[contestant.name].append(timeline)
            figures = f"{timeline.rate():>7.0f} a second {timeline.cpu_ms():>7.2f} ms each"
            say(f"  round {number}  {contestant.name:<22} {figures}")
    return Standings(
        {name: median(each.rate() for each in timelines) for name, timelines in runs.items()},
        {name: median(each.cpu_ms() for each in timelines) for name, timelines in runs.items()},
    )


@dataclass(frozen=True, slots=True)
class Standings:
    """Letters a second, and milliseconds of processor time per letter, of each contestant."""

    rates: Mapping[str, float]
    cpu_ms: Mapping[str, float]


def ratios(rates: Mapping[str, float], of: str) -> dict[str, float]:
    """How many times as fast one contestant is as each other."""
    return {name: rates[of] / rate for name, rate in rates.items() if name != of}

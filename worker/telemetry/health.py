"""Whether the worker lives and is ready, with the reason in words."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that must hold for the worker to be ready; `problem` says in words what is wrong, or nothing."""

    name: str
    problem: Callable[[], str | None]


class Health:
    """Collects the conditions of readiness.

    Liveness needs none: the answer comes from the event loop itself, so that it comes shows that the loop turns, and
    from a loop that is stuck none comes.
    """

    def __init__(self) -> None:
        self._conditions: list[Condition] = []
        self._draining = False

    def require(self, name: str, problem: Callable[[], str | None]) -> None:
        """Add a condition."""
        self._conditions.append(Condition(name, problem))

    def drain(self) -> None:
        """The worker is stopping: it is not ready any more, whatever else holds."""
        self._draining = True

    def problems(self) -> dict[str, str]:
        """What keeps the worker from being ready, by the name of the condition; empty: it is ready."""
        problems = {"worker": "draining: the worker is stopping"} if self._draining else {}
        for condition in self._conditions:
            if problem := condition.problem():
                problems[condition.name] = problem
        return problems

    def conditions(self) -> dict[str, float]:
        """1 for each condition that holds and 0 for each that does not, for metrics."""
        problems = self.problems()
        return {condition.name: float(condition.name not in problems) for condition in self._conditions}


_EVERY_S = 0.5


async def watch_loop(observe: Callable[[float], object], every_s: float = _EVERY_S) -> None:
    """Tell, again and again until cancelled, how many seconds after its time a sleeper was woken."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + every_s
        await asyncio.sleep(every_s)
        observe(max(loop.time() - due, 0.0))

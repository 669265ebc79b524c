"""Liveness and readiness of the worker, with reasons in words."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition of readiness; `problem` describes what is wrong, or returns None."""

    name: str
    problem: Callable[[], str | None]


class Health:
    """Collects the conditions of readiness.

    Liveness has none: the event loop itself answers, so an answer proves that the loop runs; a stuck loop gives none.
    """

    def __init__(self) -> None:
        self._conditions: list[Condition] = []
        self._draining = False

    def require(self, name: str, problem: Callable[[], str | None]) -> None:
        """Add a condition."""
        self._conditions.append(Condition(name, problem))

    def drain(self) -> None:
        """Mark the worker as stopping: it is no longer ready, whatever else holds."""
        self._draining = True

    def problems(self) -> dict[str, str]:
        """Why the worker is not ready, by condition name; empty if it is ready."""
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
    """Report event-loop lag in seconds, repeatedly until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + every_s
        await asyncio.sleep(every_s)
        observe(max(loop.time() - due, 0.0))

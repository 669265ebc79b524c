"""Counting what a process has done, from the outside, and what rate that makes."""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_LOOK_S = 0.02
_TAIL_BYTES = 256
_STALLED_S = 60.0
_NUMBER = re.compile(rb"(\d+)[\r\n]")


class TooFew(Exception):
    """Letters are missing, repeated, or come no more: such a run has no rate."""


def last_number(path: Path) -> int:
    """The number that a process wrote last into a file, each ended by a line feed or carriage return; 0 before any."""
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - _TAIL_BYTES))
        numbers = _NUMBER.findall(file.read())
    return int(numbers[-1]) if numbers else 0


@dataclass(frozen=True, slots=True)
class Point:
    """At a moment (seconds): how many have come, and the processor time (seconds) that went into them."""

    at_s: float
    come: int
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """What was seen from the beginning to the end."""

    points: Sequence[Point]

    def rate(self) -> float:
        """Letters a second."""
        began, ended = self._window()
        return (ended.come - began.come) / (ended.at_s - began.at_s)

    def cpu_ms(self) -> float:
        """Milliseconds of processor time per letter; other work on the machine changes it much less than the rate."""
        began, ended = self._window()
        return 1_000 * (ended.cpu_s - began.cpu_s) / (ended.come - began.come)

    def _window(self, first: float = 0.2, last: float = 0.9) -> tuple[Point, Point]:
        """Between these parts of the whole: without start-up and without the last stragglers."""
        total = self.points[-1].come
        began = next(point for point in self.points if point.come >= first * total)
        ended = next(point for point in self.points if point.come >= last * total)
        if ended.at_s <= began.at_s:
            raise TooFew("too few letters to tell a rate from")
        return began, ended


def nothing() -> float:
    """The processor time where nobody asks for it."""
    return 0.0


async def watch(
    count: Callable[[], int], expected: int, cpu_s: Callable[[], float] = nothing, *, every_s: float = _LOOK_S
) -> Timeline:
    """Look at a count until as many have come as are expected. Raises `TooFew` when it stands still before that."""
    points = [Point(time.monotonic(), 0, cpu_s())]
    while points[-1].come < expected:
        await asyncio.sleep(every_s)
        come, now_s = count(), time.monotonic()
        if come != points[-1].come:
            points.append(Point(now_s, come, cpu_s()))
        elif now_s - points[-1].at_s > _STALLED_S:
            raise TooFew(f"{come} of {expected} letters came, and for {_STALLED_S:g} s no other")
    return Timeline(points)

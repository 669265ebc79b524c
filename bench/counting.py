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
class Timeline:
    """How many had come at which moment (seconds)."""

    points: Sequence[tuple[float, int]]

    def rate(self, first: float = 0.2, last: float = 0.9) -> float:
        """Per second, between these parts of the whole: without start-up and without the last stragglers."""
        total = self.points[-1][1]
        began_s, began = next(point for point in self.points if point[1] >= first * total)
        ended_s, ended = next(point for point in self.points if point[1] >= last * total)
        if ended_s <= began_s:
            raise TooFew("too few letters to tell a rate from")
        return (ended - began) / (ended_s - began_s)


async def watch(count: Callable[[], int], expected: int) -> Timeline:
    """Look at a count until as many have come as are expected. Raises `TooFew` when it stands still before that."""
    points = [(time.monotonic(), 0)]
    while points[-1][1] < expected:
        await asyncio.sleep(_LOOK_S)
        come = count()
        now_s = time.monotonic()
        if come != points[-1][1]:
            points.append((now_s, come))
        elif now_s - points[-1][0] > _STALLED_S:
            raise TooFew(f"{come} of {expected} letters came, and for {_STALLED_S:g} s no other")
    return Timeline(points)

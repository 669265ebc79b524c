"""How long a function takes over an input, and whether that grows faster than the input.

The time is that of the processor, so that what else the machine does counts little, and the least of several runs.
How long is too long depends on the machine: a loop of our own says how much slower it is than the one on which the
limits were set.
"""

import asyncio
import gc
import inspect
import re
import threading
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

from fuzz.foreign.entry import Entry, Make, Runs

HOLD_S = 0.050
"""For how long the event loop may be held."""

_REFERENCE_S = 0.0052  # of the loop below, on the machine on which the limits were set
# What takes less is too short to say how it grows: at some size another way through the code begins, such as an exact
# count where a rough one was enough, and costs a few milliseconds more. It is a quarter of what is allowed at most.
_FLOOR_S = 0.012
_TOO_SHORT_S = 0.0005  # next to nothing
_RUNS = 3
_ATTEMPTS = 3
# Linear is four times, the square sixteen; caches and the price of memory make large inputs somewhat dearer.
_MAX_GROWTH_OF_TWO, _MAX_GROWTH_OF_FOUR = 2.8, 8.0


def slowness() -> float:
    """How many times slower this machine is than the one on which the limits were set; at least 1."""
    return _slowness(tracemalloc.is_tracing())


@cache
def _slowness(_is_traced: bool) -> float:
    gc.collect()
    gc.freeze()  # what is there already is not to be looked through again because of what a function makes
    text, pattern = "a, b " * 20_000, re.compile(r"[a-z]+")

    def loop() -> None:
        seen = {found[0]: len(found[0]) for found in pattern.finditer(text)}
        sum(seen[word] for word in text.split(", ") if word in seen)

    return max(min(_processor_s(loop) for _ in range(10)) / _REFERENCE_S, 1.0)


def took_s(entry: Entry, data: bytes) -> float:
    """The processor's time that the function takes over an input."""
    return _measured(entry, data)[0]


def complaint(entry: Entry, make: Make, hold_s: float = HOLD_S) -> str | None:
    """What is wrong with the time that the function takes over inputs of this shape; None when nothing is."""
    said = None
    for _ in range(_ATTEMPTS):  # on a busy machine one measurement says little
        said = _complaint(entry, make, hold_s)
        if said is None:
            return None
    return said


def _complaint(entry: Entry, make: Make, hold_s: float) -> str | None:
    limit_s = hold_s * slowness()
    whole = make(entry.max_bytes)
    total_s, held_s = _measured(entry, whole)
    if entry.runs is not Runs.ELSEWHERE and held_s > limit_s:
        held_s = min(held_s, *(_measured(entry, whole)[1] for _ in range(_RUNS)))
        if held_s > limit_s:
            return (
                f"{len(whole)} bytes hold the event loop for {held_s * 1000:.0f} ms, {limit_s * 1000:.0f} are allowed"
            )
    if total_s <= _FLOOR_S * slowness():
        return None
    total_s = min(total_s, *(_measured(entry, whole)[0] for _ in range(_RUNS - 1)))
    quarter, half = make(entry.max_bytes // 4), make(entry.max_bytes // 2)
    quarter_s, half_s = (min(_measured(entry, part)[0] for _ in range(_RUNS)) for part in (quarter, half))
    # Where half of it takes next to nothing, the rest does not grow: it is another way that begins at some size.
    if half_s > _TOO_SHORT_S and total_s > _MAX_GROWTH_OF_TWO * half_s and total_s > _MAX_GROWTH_OF_FOUR * quarter_s:
        times = ", ".join(f"{seconds * 1000:.1f}" for seconds in (quarter_s, half_s, total_s))
        return f"a quarter, a half and all of {len(whole)} bytes take {times} ms: that is more than in proportion"
    return None


def _measured(entry: Entry, data: bytes) -> tuple[float, float]:
    """The processor's time for an input: in all, and the longest part of it in which nobody else had a turn."""

    def call() -> Any:
        with suppress(*entry.errors):
            return entry.function(data)

    match entry.runs:
        case Runs.IN_LOOP | Runs.ELSEWHERE if not inspect.iscoroutinefunction(entry.function):
            total_s = _processor_s(call)
            return total_s, total_s
        case Runs.ASIDE:
            return _beside(call)
        case _:
            return _in_loop(entry, data)


def _processor_s(function: Callable[[], object]) -> float:
    began = time.process_time()
    function()
    return time.process_time() - began


def _beside(call: Callable[[], object]) -> tuple[float, float]:
    """In a thread, while this one asks for its turn all the time."""
    thread = threading.Thread(target=call)
    began = last = time.process_time()
    longest = 0.0
    thread.start()
    while thread.is_alive():
        time.sleep(0.0002)
        now = time.process_time()
        longest, last = max(longest, now - last), now
    thread.join()
    return time.process_time() - began, longest


class _CountingLoop(asyncio.SelectorEventLoop):
    """Notes the processor's time of each step."""

    longest_s = 0.0
    total_s = 0.0

    def call_soon(  # type: ignore[override]  # generic in the arguments, which are passed on as they are
        self, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.Handle:
        def timed(*given: Any) -> None:
            began = time.process_time()
            callback(*given)
            took = time.process_time() - began
            self.longest_s = max(self.longest_s, took)
            self.total_s += took

        return super().call_soon(timed, *args, context=context)


def _in_loop(entry: Entry, data: bytes) -> tuple[float, float]:
    async def call() -> None:
        with suppress(*entry.errors):
            given = entry.function(data)
            if inspect.isawaitable(given):
                await given

    loop = _CountingLoop()
    try:
        loop.run_until_complete(call())
    finally:
        loop.close()
    return loop.total_s, loop.longest_s

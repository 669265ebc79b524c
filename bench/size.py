"""Scenario (e): start-up and memory with many accounts, and whether memory stays flat as letters go through."""

import asyncio
import time
from collections.abc import Callable, Sequence

from bench.arena import Arena
from bench.counting import watch
from bench.letters import event
from bench.plan import Plan, Result, Say
from bench.snapshot import write_document
from bench.workers import WorkerProcess, ledger_url, one_worker, settings

_FIRST_START_S = 300.0
_LOOK_S = 0.5
_AT_ONCE = 1_000


async def measure(arena: Arena, plan: Plan, say: Say) -> Result:
    """Seconds to readiness, megabytes, and the slope of memory over letters."""
    return {**await _starts(arena, plan, say), **await _soak(arena, plan, say)}


async def _starts(arena: Arena, plan: Plan, say: Say) -> Result:
    directory = arena.place("size")
    path = directory / "snapshot.json"
    await asyncio.to_thread(write_document, path, plan.accounts)
    url = await ledger_url(arena, "sqlite", directory)
    process = WorkerProcess(directory / "0", settings(arena, path, url, [arena.sink.port]))
    first_s, _ = await _start(process)
    ready_s, peak_mb = await _start(process)
    say(f"  {plan.accounts} accounts: ready in {ready_s:.1f} s (the first time {first_s:.1f} s), {peak_mb:.0f} MB")
    return {"accounts": plan.accounts, "first_ready_s": first_s, "ready_s": ready_s, "peak_mb": peak_mb}


async def _start(process: WorkerProcess) -> tuple[float, float]:
    began_s = time.monotonic()
    await process.child.start(process.is_ready, timeout_s=_FIRST_START_S)
    ready_s = time.monotonic() - began_s
    peak_mb = process.rss_mb(peak=True)
    await process.stop()
    return ready_s, peak_mb


async def _soak(arena: Arena, plan: Plan, say: Say) -> Result:
    """Letters for a set time, without a pause; the slope is fitted over the second half, after everything is warm."""
    points: list[tuple[float, float]] = []
    async with one_worker(arena, []) as worker:
        until_s, arrived = time.monotonic() + plan.soak_s, arena.arrivals()
        looking = asyncio.create_task(_look(worker, arrived, points))
        letters = 0
        while time.monotonic() < until_s:
            before, run = letters, f"e{letters}"
            await arena.load(_AT_ONCE, run, event)
            await watch(lambda: arrived() - before, _AT_ONCE)  # noqa: B023 - used within the turn
            letters += _AT_ONCE
            await arena.audit(_AT_ONCE, run, lambda: arrived() - before)  # noqa: B023 - used within the turn
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    slope = _slope([point for point in points if point[0] > letters / 2])
    say(f"  {letters} letters: {points[-1][1]:.0f} MB, {1_000 * slope:+.2f} KB a letter over the second half")
    return {"soak_letters": letters, "soak_mb": points[-1][1], "kb_per_letter": 1_000 * slope}


async def _look(worker: WorkerProcess, arrived: Callable[[], int], points: list[tuple[float, float]]) -> None:
    while True:
        points.append((arrived(), worker.rss_mb()))
        await asyncio.sleep(_LOOK_S)


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares: how much the second number grows with each unit of the first."""
    if len(points) < 2:
        return 0.0
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0

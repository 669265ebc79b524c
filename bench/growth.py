"""Scenario (f): what a letter costs as mailboxes become more and letters larger, and whether large ones stop others."""

import asyncio
import time
from collections.abc import Callable

from bench.arena import Arena
from bench.counting import watch
from bench.letters import account, event, html, mailbox
from bench.plan import Plan, Result, Say
from bench.workers import WorkerProcess, one_worker
from stack.probe import greets

_MAILBOXES = (1, 10, 100, 1_000)
_LETTERS = 1_500
# Characters of the comment, and letters of that size. A text in Cyrillic has about five and a half bytes on the wire
# per character, as far as there is a plain-text version, which is cut at 200,000 characters.
_SIZES = {
    "1 KB": (100, 1_000),
    "10 KB": (1_800, 800),
    "100 KB": (18_000, 200),
    "1 MB": (190_000, 30),
    "10 MB": (3_600_000, 4),
}
_LIVENESS = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


async def measure(arena: Arena, plan: Plan, say: Say) -> Result:
    """Processor time per letter by number of mailboxes and by size, and the longest standstill of the event loop."""
    return {"mailboxes": await _by_mailboxes(arena, plan, say), "sizes": await _by_size(arena, plan, say)}


async def _by_mailboxes(arena: Arena, plan: Plan, say: Say) -> Result:
    figures: Result = {}
    for number in _MAILBOXES:
        boxes = [mailbox(f"mb-{n}", arena.sink.port, auth={"method": "none"}) for n in range(number)]
        for box in boxes:
            box["limits"] = {"connections": max(2, 16 // number)}
        async with one_worker(arena, [account("bench", boxes)]) as worker:
            count = max(300, int(_LETTERS * plan.share))
            # The first ones open connections; it is the others that are measured.
            await _costs(arena, worker, number, lambda n, run: event(n, run, mailbox_id=f"mb-{n % number}"))  # noqa: B023 - used within the turn
            rate, cost_ms = await _costs(
                arena,
                worker,
                count,
                lambda n, run: event(n, run, mailbox_id=f"mb-{n % number}"),  # noqa: B023 - used within the turn
            )
        say(f"  {number:>5} mailboxes: {rate:>5.0f} a second, {cost_ms:.2f} ms of processor time a letter")
        figures[str(number)] = {"rate": rate, "cpu_ms": cost_ms}
    return figures


async def _by_size(arena: Arena, plan: Plan, say: Say) -> Result:
    figures: Result = {}
    async with one_worker(arena, []) as worker:
        for name, (chars, letters) in _SIZES.items():
            text = html(chars)
            count = max(4, int(letters * plan.share))
            beat = asyncio.create_task(_longest_standstill_ms(worker))
            rate, cost_ms = await _costs(arena, worker, count, lambda n, run: event(n, run, text=text))  # noqa: B023 - used within the turn
            beat.cancel()
            standstill_ms = await beat
            say(f"  {name:>6}: {rate:>6.1f} a second, {cost_ms:>7.2f} ms a letter, standstill {standstill_ms:.0f} ms")
            figures[name] = {"rate": rate, "cpu_ms": cost_ms, "standstill_ms": standstill_ms}
    return figures


async def _costs(
    arena: Arena, worker: WorkerProcess, count: int, make: Callable[[int, str], bytes]
) -> tuple[float, float]:
    """Letters a second, and milliseconds of processor time for each."""
    arrived, before_s, began_s = arena.arrivals(), worker.cpu_s(), time.monotonic()
    run = f"f{began_s:.3f}"
    await arena.load(count, run, make)
    await watch(arrived, count)
    elapsed_s = time.monotonic() - began_s
    await arena.audit(count, run, arrived)
    return count / elapsed_s, 1_000 * (worker.cpu_s() - before_s) / count


async def _longest_standstill_ms(worker: WorkerProcess) -> float:
    """The longest wait for an answer to "do you live", which the event loop gives, until cancelled."""
    longest_s = 0.0
    try:
        while True:
            began_s = time.monotonic()
            await greets(worker.http_port, b"HTTP/1.1 200", hello=_LIVENESS)
            longest_s = max(longest_s, time.monotonic() - began_s)
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        return longest_s * 1_000

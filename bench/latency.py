"""Scenario (c): from publishing an event to the acceptance of its letter, at a tenth and at half of the load."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import aio_pika

from bench.arena import RESULTS, TOPOLOGY, Arena, as_message
from bench.counting import TooFew
from bench.letters import event
from bench.plan import Plan, Result, Say
from bench.workers import one_worker

_RESULTS_S = 30.0
_LOADS = {"a tenth": 0.1, "half": 0.5}


async def measure(arena: Arena, plan: Plan, say: Say, highest: float) -> Result:
    """Percentiles in milliseconds, and the load each belongs to; `highest`: letters a second under full load."""
    figures: dict[str, object] = {}
    async with one_worker(arena, []):
        await _paced(arena, 20, 1.0, "warm")
        for name, part in _LOADS.items():
            latencies_ms = await _paced(arena, highest * part, plan.paced_s, name.replace(" ", "-"))
            found = {"p50": _percentile(latencies_ms, 0.5), "p99": _percentile(latencies_ms, 0.99)}
            say(f"  {name} ({highest * part:.0f} a second): 50th {found['p50']:.1f} ms, 99th {found['p99']:.1f} ms")
            figures[name] = {**found, "load": highest * part}
    return {"latency_ms": figures}


async def _paced(arena: Arena, rate: float, seconds: float, run: str) -> list[float]:
    """Publish so many a second, evenly; how long each took, from its publishing to the time in its result."""
    count = max(20, int(rate * seconds))
    published: dict[str, datetime] = {}
    async with await aio_pika.connect(arena.broker.amqp_url) as connection:
        exchange = (await connection.channel()).default_exchange
        began_s = time.monotonic()
        going = []
        for number in range(count):
            await asyncio.sleep(began_s + number / rate - time.monotonic())
            published[f"{run}-{number}"] = datetime.now(UTC)
            going.append(asyncio.create_task(_publish(exchange, event(number, run))))
        await asyncio.gather(*going)
        return await _latencies_ms(connection, published)


async def _publish(exchange: aio_pika.abc.AbstractExchange, body: bytes) -> None:
    await exchange.publish(as_message(body), TOPOLOGY.outbound)


async def _latencies_ms(connection: aio_pika.abc.AbstractConnection, published: Mapping[str, datetime]) -> list[float]:
    queue = await (await connection.channel()).declare_queue(RESULTS, passive=True)
    found: dict[str, float] = {}
    until_s = time.monotonic() + _RESULTS_S
    while len(found) < len(published):
        message = await queue.get(no_ack=True, fail=False)
        if message is not None:
            result = json.loads(message.body)
            event_id = result["data"]["event_id"]
            if result["type"] == "mail.sent" and event_id in published:
                took = datetime.fromisoformat(result["time"]) - published[event_id]
                found[event_id] = took.total_seconds() * 1_000
        elif time.monotonic() > until_s:
            raise TooFew(f"{len(published) - len(found)} of {len(published)} letters have no result")
        else:
            await asyncio.sleep(0.02)
    return list(found.values())


def _percentile(values: Sequence[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]

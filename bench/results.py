"""Results, counted by their types."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping

import aio_pika


async def count_results(url: str, queue: str, wanted: Mapping[str, int], timeout_s: float) -> Counter[str]:
    """Take results out of a queue until there are as many of each type as wanted, or the time is up."""
    found: Counter[str] = Counter()
    until_s = time.monotonic() + timeout_s
    async with await aio_pika.connect(url) as connection:
        source = await (await connection.channel()).declare_queue(queue, passive=True)
        while any(found[name] < count for name, count in wanted.items()) and time.monotonic() < until_s:
            message = await source.get(no_ack=True, fail=False)
            if message is None:
                await asyncio.sleep(0.05)
            else:
                found[message.routing_key or ""] += 1
    return found

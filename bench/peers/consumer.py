"""Takes messages and acknowledges them, and does nothing else: what aio-pika and the broker allow at most."""

import asyncio
import sys

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

_TOLD_EVERY = 20


async def main(url: str, queue_name: str, prefetch: int, count: int) -> None:
    done = asyncio.Event()
    taken = 0

    async def take(message: AbstractIncomingMessage) -> None:
        nonlocal taken
        await message.ack()
        taken += 1
        if taken % _TOLD_EVERY == 0 or taken == count:
            print(taken, flush=True)
        if taken == count:
            done.set()

    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(publisher_confirms=False)
        await channel.set_qos(prefetch_count=prefetch)
        queue = await channel.declare_queue(queue_name, passive=True)
        await queue.consume(take)
        await done.wait()


def run() -> None:
    url, queue_name, prefetch, count = sys.argv[1:]
    loop_factory = None
    try:
        import uvloop

        loop_factory = uvloop.new_event_loop
    except ImportError:
        pass
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main(url, queue_name, int(prefetch), int(count)))


if __name__ == "__main__":
    run()

"""What the dead-letter commands take with a large queue: time and memory of each, and that no letter is lost.

    python -m bench.dead_letters [--count 100000]

Starts a RabbitMQ of its own, buries letters, looks at them, and replays them; the replay is interrupted twice, once
by SIGINT and once by SIGKILL. A tenth of the letters is uncertain and must stay.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aio_pika

from bench.measured_process import MeasuredProcess
from stack import RabbitMQ, private_directory, running
from worker.adapters.broker.dead_letter_queue import open_dead_queue
from worker.adapters.broker.topology import apply_topology
from worker.domain.events.cloudevents import STRUCTURED
from worker.domain.topology import Topology

TOPOLOGY = Topology()
MAX_COUNT = 500_000
TIMEOUT_S = 900
PUBLISHING_AT_ONCE = 500
TEXT = "<p>" + "Мастер приедет завтра. " * 40 + "</p>"


def letter(number: int) -> aio_pika.Message:
    """The dead letter of this number: every tenth is uncertain, and there are fifty accounts."""
    event = {
        "specversion": "1.0",
        "id": f"evt-{number}",
        "source": "/bench",
        "type": "comment.created",
        "time": "2026-11-23T10:00:00Z",
        "data": {
            "account_id": f"account-{number % 50}",
            "task": {"id": str(number), "title": "bench"},
            "comment": {"id": str(number), "html": TEXT},
            "recipients": [{"address": f"client-{number}@example.net", "role": "to"}],
        },
    }
    moment = datetime(2026, 11, 23, 10, tzinfo=UTC) + timedelta(seconds=number)
    headers: dict[str, aio_pika.abc.FieldValue] = {
        "sendas-first-seen": moment.isoformat(),
        "sendas-attempt": 1,
        "sendas-dead-reason": "internal_error" if number % 10 else "outcome_unknown",
        "sendas-dead-detail": "KeyError",
        "sendas-dead-at": moment.isoformat(),
        "sendas-dead-queue": TOPOLOGY.outbound,
    }
    body = json.dumps(event, ensure_ascii=False).encode()
    return aio_pika.Message(body, headers=headers, content_type=STRUCTURED, delivery_mode=2)


async def bury(url: str, count: int) -> None:
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        for first in range(0, count, PUBLISHING_AT_ONCE):
            numbers = range(first, min(first + PUBLISHING_AT_ONCE, count))
            await asyncio.gather(*(channel.default_exchange.publish(letter(n), TOPOLOGY.dead) for n in numbers))


class Command:
    """One run of the command as a process."""

    def __init__(self, url: str, arguments: Sequence[str], directory: Path) -> None:
        self._name = " ".join(arguments)
        line = [sys.executable, "-m", "worker", "dead-letters", *arguments]
        self.process = MeasuredProcess(line, {"SENDAS_BROKER_URL": url}, directory)

    async def end(self) -> bytes:
        """Wait for its end, print what it took, and give what it printed."""
        ended = await self.process.end(TIMEOUT_S)
        took = f"{ended.seconds:>7.1f} s {ended.max_rss_mb:>7.0f} MB  exit {ended.status:>3}"
        print(f"{took}  {self._name}", flush=True)
        return ended.output


async def waiting(url: str) -> int:
    async with open_dead_queue(url, TOPOLOGY.outbound) as queue:
        return await queue.size()


async def interrupt(url: str, command: Command, number: int, at: int) -> bytes:
    """Send a signal as soon as so many letters have been replayed."""
    while await waiting(url) < at:  # noqa: ASYNC110 - the other side is a process, which sets no event of ours
        await asyncio.sleep(0.1)
    command.process.send_signal(number)
    return await command.end()


async def numbers_in(url: str, name: str) -> Counter[int]:
    found: Counter[int] = Counter()
    async with open_dead_queue(url, name) as queue, queue.take(await queue.size()) as taking:
        async for message in taking:
            taking.keep(message)
            found[int(json.loads(message.body)["id"].removeprefix("evt-"))] += 1
    return found


async def measure(url: str, count: int, output: Path) -> None:
    await apply_topology(url, TOPOLOGY)
    began_s = time.monotonic()
    await bury(url, count)
    print(f"{time.monotonic() - began_s:>7.1f} s to bury {count} letters of {len(letter(0).body)} bytes")
    listed = await Command(url, ["list", "--json"], output).end()
    print(f"{'':>20} listed {listed.count(b'{')} of {count}")
    ids = [json.loads(line)["event_id"] for line in listed.splitlines()]
    print(f"{'':>20} in the order of their death: {ids == [f'evt-{number}' for number in range(count)]}")
    filtered = await Command(url, ["list", "--account", "account-7", "--text", "client"], output).end()
    print(f"{'':>20} filtered {filtered.count(os.linesep.encode())} of {count // 50}")
    await Command(url, ["stats", "--json"], output).end()
    replay = ["replay", "--rate", "0", "--json"]
    print((await Command(url, replay, output).end()).decode())
    replay += ["--yes", "--why", "bench"]
    first = await interrupt(url, Command(url, replay, output), signal.SIGINT, count // 5)
    print(f"{'':>20} told to stop after {json.loads(first)['replayed']}, outbound has {await waiting(url)}")
    await interrupt(url, Command(url, replay, output), signal.SIGKILL, count // 2)
    print(f"{'':>20} killed, outbound has {await waiting(url)}")
    last = json.loads(await Command(url, replay, output).end())
    print(f"{'':>20} replayed the other {last['replayed']}, refused {last['refused']}")
    dead, sent = await numbers_in(url, TOPOLOGY.dead), await numbers_in(url, TOPOLOGY.outbound)
    repeated = sent.total() - len(sent)
    print(f"dead {dead.total()} + outbound {len(sent)} = {dead.total() + len(sent)}; repeated by the kill: {repeated}")
    is_right = set(dead) == set(range(0, count, 10)) and set(sent) == set(range(count)) - set(dead)
    print("every letter is in exactly the queue where it belongs" if is_right else "LETTERS ARE MISSING OR MISPLACED")


async def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the dead-letter commands.")
    parser.add_argument("--count", type=int, default=100_000)
    count = min(parser.parse_args().count, MAX_COUNT)
    with private_directory() as directory, tempfile.TemporaryDirectory() as output:
        broker = RabbitMQ(directory / "rabbitmq")
        async with running(broker):
            await measure(broker.amqp_url, count, Path(output))


if __name__ == "__main__":
    asyncio.run(main())

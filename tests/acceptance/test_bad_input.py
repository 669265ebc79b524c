"""Hostile messages between good events: each good letter is sent in time, each bad message is kept or told of."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import aio_pika
import aiohttp
import pytest
from aio_pika.abc import AbstractChannel
from pamqp import encode

from fuzz.corpus_files import inputs
from fuzz.message import read_message
from tests.acceptance.command import running_worker
from tests.acceptance.office import Json, Office
from worker.domain.events.cloudevents import parse
from worker.domain.topology import Topology
from worker.errors import InvalidEvent

ROUNDS = 5
GOOD_PER_ROUND = 20
IN_TIME_S = 60.0
MAX_GROWTH_BYTES = 24 * 1024 * 1024
"""Of resident memory over the last three rounds: the first two fill caches and pools.

The smallest reading of the later rounds counts: what large messages leave in the allocator comes and goes, what leaks
stays.
"""
SPARE_DESCRIPTORS = 3
STRUCTURED = "application/cloudevents+json"


@dataclass(frozen=True)
class Bad:
    """A hostile message."""

    body: bytes
    headers: dict[str, Any] = field(default_factory=dict)
    content_type: str | None = STRUCTURED


def _nested(depth: int) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for _ in range(depth):
        table = {"a": table}
    return table


def hand_made(event: dict[str, Any]) -> Iterator[Bad]:
    """Messages that no fuzzer comes to: large ones, and headers of every type of AMQP."""
    bad = json.dumps(event | {"id": "never", "specversion": "9"}, ensure_ascii=False).encode()
    now = datetime(2026, 11, 23, tzinfo=UTC)
    yield Bad(b"x" * 15_000_000)
    yield Bad(b'{"a":' + b'"' + b"x" * 15_000_000 + b'"}')
    yield Bad(b"[" * 5_000_000)
    yield Bad(b'{"a":' * 200_000)
    yield Bad(b"[" + b"1," * 3_000_000 + b"1]")
    yield Bad(b"9" * 10_000_000)
    yield Bad(b"")
    yield Bad(b"\xff" * 1_000, content_type="\u202etext/\r\nplain")
    yield Bad(b"{}", {"huge": "x" * 120_000})
    yield Bad(b"{}", {"bytes": bytearray(b"\xff" * 60_000)})
    yield Bad(b"{}", {f"n{number}": number for number in range(4_000)})
    yield Bad(b"{}", {"deep": _nested(300)})
    yield Bad(b"{}", {"list": [[["x"] * 100] * 20, Decimal("1.5"), now, None, True, 2**62, -1.5]})
    death = {"count": 2**62, "queue": "sendas.outbound", "reason": "rejected", "time": now, "routing-keys": ["x"]}
    yield Bad(b"{}", {"x-death": [death] * 50, "x-first-death-queue": "sendas.outbound", "x-delivery-count": 10**9})
    yield Bad(b"{}", {"x-death": "rubbish", "sendas-dead-reason": 7, "sendas-dead-queue": ["sendas.outbound"]})
    for attempt in (-1, 2**62, "x", bytearray(b"\xff"), {"a": 1}, 1.5):
        yield Bad(bad, {"sendas-first-seen": now.isoformat(), "sendas-attempt": attempt})
    moments: tuple[Any, ...] = ("0001-01-01T00:00:00+23:59", "x", 7, [], "9" * 100_000)
    for first_seen in moments:
        yield Bad(bad, {"sendas-first-seen": first_seen, "sendas-attempt": -1})
    for recipients in (",".join(["0-9999"] * 10_000), "7", "-1", "", 0.5, "x" * 100_000):
        yield Bad(bad, {"sendas-first-seen": now.isoformat(), "sendas-recipients": recipients})
    yield Bad(bad, {"sendas-first-seen": now.isoformat(), "sendas-mode": "nobody"})


def _deep_table(depth: int) -> bytes:
    table = b""
    for _ in range(depth):
        table = b"\x01aF" + len(table).to_bytes(4, "big") + table
    return table


UNREADABLE = {
    "name_not_utf8": b"\x02\xff\xfeV",
    "moment_beyond_the_calendar": b"\x01tT\xff\xff\xff\xff\xff\xff\xff\xff",
    "nested_a_thousand_times": _deep_table(1_500),
}
"""Tables that RabbitMQ passes on and that the library does not read."""


def from_corpus() -> Iterator[Bad]:
    """The corpus of events, those left out that are good: what is bad about the others is for the parser to say."""
    for path in inputs("events"):
        message = read_message(path.read_bytes())
        try:
            parse(message.headers, message.content_type, message.body)
        except InvalidEvent:
            headers = {name: bytearray(v) if isinstance(v, bytes) else v for name, v in message.headers.items()}
            yield Bad(message.body, headers, message.content_type)


@asynccontextmanager
async def channel_to(office: Office) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(office.broker_url) as connection:
        yield await connection.channel()


async def publish(office: Office, messages: Sequence[Bad]) -> None:
    """Straight to the work queue, as a producer with a wrong idea would."""
    async with channel_to(office) as channel:
        for bad in messages:
            message = aio_pika.Message(bad.body, headers=bad.headers, content_type=bad.content_type)
            await channel.default_exchange.publish(message, Topology().outbound)


async def depth(office: Office, queue_name: str) -> int:
    async with channel_to(office) as channel:
        queue = await channel.declare_queue(queue_name, passive=True)
        return queue.declaration_result.message_count or 0


async def purge(office: Office, queue_name: str) -> int:
    """Empty a queue; gives how many messages were in it."""
    async with channel_to(office) as channel:
        queue = await channel.declare_queue(queue_name, passive=True)
        return (await queue.purge()).message_count or 0


async def reading(port: int, name: str) -> float:
    """A number of the worker's metrics."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as response:
        for line in (await response.text()).splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[-1])
    raise AssertionError(f"no {name} in the metrics")


async def test_bad_messages_cost_no_good_letter_and_leave_nothing_behind(office: Office) -> None:
    """If somebody publishes rubbish, then letters go out in time, rubbish is kept, and the worker stays as it was."""
    bad = 2 * [*hand_made(office.event()), *from_corpus()]
    assert len(bad) > 100
    sizes: list[float] = []
    descriptors: list[float] = []
    async with office.results() as results, running_worker(office.settings) as worker:
        assert worker.port is not None
        for number in range(ROUNDS):
            good = [office.event(number * 1_000 + each) for each in range(GOOD_PER_ROUND)]
            half = len(bad) // 2
            began = time.monotonic()
            await publish(office, bad[:half])
            await office.publish(good)
            await publish(office, bad[half:])
            await results.wait(partial(_all_sent, {event["id"] for event in good}))
            assert time.monotonic() - began < IN_TIME_S
            await _until_dealt_with(office, len(bad))
            sizes.append(await reading(worker.port, "process_resident_memory_bytes"))
            # Without the connections that are kept for the next letters: their number grows to the mailboxes' caps.
            kept = await reading(worker.port, "sendas_smtp_connections")
            descriptors.append(await reading(worker.port, "process_open_fds") - kept)
            assert await reading(worker.port, 'sendas_in_flight{queue="sendas.outbound"}') == 0
        await worker.stop()
    assert min(sizes[-2:]) - min(sizes[1:3]) < MAX_GROWTH_BYTES, sizes
    assert max(descriptors[1:]) <= descriptors[0] + SPARE_DESCRIPTORS, descriptors
    reasons = Counter(result["data"].get("reason") for result in results.all if result["type"] == "mail.failed")
    assert set(reasons) <= {"invalid_event"}, reasons
    assert not [line for line in worker.lines if "Traceback" in line]


def _all_sent(event_ids: set[str], results: list[Json]) -> bool:
    return event_ids <= {result["data"]["event_id"] for result in results if result["type"] == "mail.sent"}


async def _until_dealt_with(office: Office, count: int) -> None:
    """Wait until all bad messages are in the dead queue."""
    async with asyncio.timeout(IN_TIME_S):
        kept = 0
        while kept < count:
            kept += await purge(office, Topology().dead)
            await asyncio.sleep(0.1)  # the broker tells nobody how many messages a queue has
    assert kept == count
    assert await depth(office, Topology().outbound) == 0


@pytest.mark.parametrize("table", UNREADABLE.values(), ids=list(UNREADABLE))
async def test_headers_that_the_library_cannot_read_stop_no_letter(
    office: Office, table: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If RabbitMQ passes on a table that cannot be read here, then other letters are sent all the same."""
    async with office.results() as results, running_worker(office.settings) as worker:
        async with channel_to(office) as channel:
            with monkeypatch.context() as patched:
                patched.setitem(encode.METHODS, "table", lambda _: len(table).to_bytes(4, "big") + table)
                message = aio_pika.Message(b"{}", headers={"any": 1})
                await channel.default_exchange.publish(message, Topology().outbound)
        await office.publish([office.event()])
        await results.of_type("mail.sent")
        await _until_dealt_with(office, 1)
        assert not [said for said in worker.said() if said.get("event") == "broker.connection_lost"]
        await worker.stop()

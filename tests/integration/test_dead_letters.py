"""`sendas dead-letters` against a real broker: as a process, and interrupted at every moment."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import aio_pika
import pytest

from bench.measured_process import Measured, MeasuredProcess
from tests.broker_setting import SIGNATURES
from tests.dead_letter_samples import BURIED, a_body, a_dead_letter
from tests.doubles.ledger import MemoryLedger
from worker.adapters.broker.dead_letter_queue import open_dead_queue
from worker.adapters.broker.topology import apply_topology
from worker.adapters.clock import SystemClock
from worker.adapters.ledger import migrate
from worker.delivery.messages import Publication
from worker.domain.events.cloudevents import STRUCTURED
from worker.domain.topology import Topology
from worker.operations.dead_letters.actions import Replay
from worker.operations.dead_letters.bulk import BulkRun
from worker.operations.dead_letters.filter import Selection
from worker.operations.dead_letters.replay_rules import ReplayRules

# Each command is a process of its own, which takes seconds to start on a busy machine.
pytestmark = pytest.mark.timeout(300)

TOPOLOGY = Topology()
ROOT = Path(__file__).parents[2]
MANY = 10_000
LETTER_BYTES = 10_000
MAX_RSS_MB = 170  # the command's own code takes 100, a window of letters 20; all of them would be 100


@dataclass
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    def json(self) -> dict[str, object]:
        document = json.loads(self.out)
        assert isinstance(document, dict)
        return document


class Broker:
    """A virtual host with the worker's topology, a mouth and an eye."""

    def __init__(self, url: str, channel: aio_pika.abc.AbstractChannel, ledger: str = "sqlite:////nowhere") -> None:
        self.url = url
        self.ledger = ledger
        self.channel = channel

    @property
    def settings(self) -> dict[str, str]:
        """Where the command finds broker and ledger."""
        return {"SENDAS_BROKER_URL": self.url, "SENDAS_LEDGER_URL": self.ledger}

    async def bury(self, ids: Iterable[str], padding: str = "", **headers: str | int) -> None:
        """Put letters into the dead queue."""
        waiting = [
            aio_pika.Message(
                a_body(each, padding=padding), headers={**BURIED, **headers}, content_type=STRUCTURED, delivery_mode=2
            )
            for each in ids
        ]
        for first in range(0, len(waiting), 500):
            publish = self.channel.default_exchange.publish
            await asyncio.gather(*(publish(each, TOPOLOGY.dead) for each in waiting[first : first + 500]))

    async def give_up(self, event_id: str) -> None:
        """Make the broker give a letter up, by its work queue's delivery limit; the dead queue must be empty before."""
        message = aio_pika.Message(a_dead_letter(event_id).body, content_type=STRUCTURED, delivery_mode=2)
        await self.channel.default_exchange.publish(message, TOPOLOGY.outbound)
        work = await self.channel.get_queue(TOPOLOGY.outbound)
        while returned := await work.get(fail=False, timeout=10):
            await returned.nack(requeue=True)
        await first_in(self, TOPOLOGY.dead)

    async def ids_in(self, queue: str) -> list[str]:
        """Ids of the events in a queue, in its order."""
        found = []
        async with open_dead_queue(self.url, queue) as look, look.take(1_000_000) as taking:
            async for message in taking:
                taking.keep(message)
                found.append(json.loads(message.body)["id"])
        return found

    async def results(self) -> aio_pika.abc.AbstractQueue:
        """A queue that hears what operators did."""
        queue = await self.channel.declare_queue(exclusive=True)
        await queue.bind(TOPOLOGY.results_exchange, "dead_letter.*")
        return queue

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start the command."""
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "worker", "dead-letters", *arguments,
            env={**os.environ, **self.settings, "PYTHONPATH": str(ROOT)},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip

    async def run(self, *arguments: str, stdin: str = "") -> Ended:
        """Run the command to its end."""
        process = await self.start(*arguments)
        out, err = await process.communicate(stdin.encode())
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())

    async def measured(self, directory: Path, *arguments: str) -> Measured:
        """Run the command to its end, and see how much memory it took."""
        line = [sys.executable, "-m", "worker", "dead-letters", *arguments]
        environment = {**self.settings, "PYTHONPATH": str(ROOT)}
        return await MeasuredProcess(line, environment, directory).end(250)


@pytest.fixture
async def broker(vhost_url: str, tmp_path: Path) -> AsyncIterator[Broker]:
    await apply_topology(vhost_url, TOPOLOGY)
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    await migrate(ledger)
    connection = await aio_pika.connect(vhost_url)
    async with connection:
        yield Broker(vhost_url, await connection.channel(), ledger)


def numbered(count: int) -> list[str]:
    return [f"evt-{number:05}" for number in range(count)]


async def test_an_operators_day(broker: Broker, tmp_path: Path) -> None:
    """Look, rehearse, replay, put the rest into a file, discard it, and put it back twice."""
    await broker.bury(numbered(5))
    await broker.bury(["sent-perhaps"], **{"sendas-dead-reason": "outcome_unknown"})
    heard = await broker.results()

    listed = await broker.run("list", "--json", "--reason", "invalid_event")
    assert [json.loads(line)["event_id"] for line in listed.out.splitlines()] == numbered(5)
    rehearsed = await broker.run("replay", "--json")
    assert (rehearsed.status, rehearsed.json()["possible"], rehearsed.json()["refused"]) == (1, 5, {"uncertain": 1})
    assert await broker.ids_in(TOPOLOGY.outbound) == []

    replayed = await broker.run(
        "replay", "--json", "--yes", "--why", "mended", "--operator", "anna", "--reason", "invalid_event", "--rate", "0"
    )
    assert (replayed.status, replayed.json()["replayed"]) == (0, 5)
    assert sorted(await broker.ids_in(TOPOLOGY.outbound)) == numbered(5)
    act = json.loads((await heard.get(timeout=5)).body)
    assert (act["type"], act["id"]) == ("dead_letter.replayed", replayed.json()["id"])
    assert (act["data"]["operator"], act["data"]["count"], act["data"]["consents"]) == ("anna", 5, [])

    file = tmp_path / "dead.jsonl"
    assert (await broker.run("export", str(file))).status == 0
    assert file.stat().st_mode & 0o077 == 0
    assert (await broker.run("discard", "--yes", "--why", "asked the customer")).status == 0
    assert await broker.ids_in(TOPOLOGY.dead) == []
    for new in (1, 0):
        imported = await broker.run("import", "-", "--json", stdin=file.read_text())
        assert imported.status == 0, imported.err
        assert imported.json() == {"read": 1, "imported": new, "already_there": 1 - new}
    assert await broker.ids_in(TOPOLOGY.dead) == ["sent-perhaps"]


async def test_a_missing_queue_is_a_configuration_error(vhost_url: str) -> None:
    connection = await aio_pika.connect(vhost_url)
    async with connection:
        ended = await Broker(vhost_url, await connection.channel()).run("list")
    assert ended.status == 2
    assert "topology apply" in ended.err


async def test_looks_that_end_early_leave_the_queue_in_its_order(broker: Broker) -> None:
    await broker.bury(numbered(130))
    assert await broker.ids_in(TOPOLOGY.dead) == numbered(130)
    for _ in range(3):
        listed = await broker.run("list", "--json", "--limit", "3")
        assert [json.loads(line)["event_id"] for line in listed.out.splitlines()] == numbered(3)
    assert await broker.ids_in(TOPOLOGY.dead) == numbered(130)


async def test_a_letter_that_killed_its_workers_goes_back_to_its_queue(broker: Broker) -> None:
    """If the broker gave a letter up by the work queue's delivery limit, then `x-death` says where it goes."""
    await broker.give_up("killer")
    [row] = (await broker.run("list", "--json")).out.splitlines()
    assert (json.loads(row)["reason"], json.loads(row)["event_id"]) == ("delivery_limit", "killer")
    assert (await broker.run("replay", "--yes", "--why", "mended the worker")).status == 0
    assert await broker.ids_in(TOPOLOGY.outbound) == ["killer"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_a_replay_that_is_told_to_stop_or_killed_loses_nothing(broker: Broker, number: signal.Signals) -> None:
    await broker.bury(numbered(2_000))
    heard = await broker.results()
    process = await broker.start("replay", "--yes", "--why", "test", "--rate", "500", "--json")
    await first_in(broker, TOPOLOGY.outbound)
    process.send_signal(number)
    out, _ = await process.communicate()

    replayed, dead = await broker.ids_in(TOPOLOGY.outbound), await broker.ids_in(TOPOLOGY.dead)
    assert sorted({*replayed, *dead}) == numbered(2_000)
    assert 0 < len(replayed) < 2_000
    assert len(dead) > 0
    if number is signal.SIGKILL:
        return
    assert process.returncode == 1
    assert (json.loads(out)["problem"], json.loads(out)["replayed"]) == ("interrupted", len(replayed))
    assert not set(replayed) & set(dead)
    assert [pair for pair in pairwise(dead) if pair[0] > pair[1]] == []
    assert json.loads((await heard.get(timeout=5)).body)["data"]["count"] == len(replayed)


async def first_in(broker: Broker, queue: str) -> None:
    """Wait until something is in a queue; what is looked at stays there."""
    connection = await aio_pika.connect(broker.url)
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1)
        there = asyncio.Event()

        async def seen(_: object) -> None:
            there.set()

        await (await channel.get_queue(queue)).consume(seen)
        await asyncio.wait_for(there.wait(), 60)


@pytest.mark.parametrize("step", range(12))
async def test_a_replay_cancelled_at_any_step_loses_nothing(broker: Broker, step: int) -> None:
    """Cancelled before or after a publication, before or after its acknowledgement, in the middle or at the ends."""
    await broker.bury(numbered(6))
    task: asyncio.Task[object]
    steps = 0

    def note() -> None:
        nonlocal steps
        if steps == step:
            task.cancel()
        steps += 1

    async def publish(publication: Publication) -> None:
        note()
        await broker.channel.default_exchange.publish(
            aio_pika.Message(publication.body, delivery_mode=2), publication.routing_key
        )
        note()

    async with open_dead_queue(broker.url, TOPOLOGY.dead) as queue:
        deed = Replay(
            publish,
            TOPOLOGY,
            ReplayRules(),
            "replay",
            SystemClock(),
            SIGNATURES,
            MemoryLedger("operator", SystemClock()),
        )
        campaign = BulkRun(queue, deed, Selection(), SystemClock())
        task = asyncio.ensure_future(campaign.run())
        await asyncio.gather(task, return_exceptions=True)
    replayed, dead = await broker.ids_in(TOPOLOGY.outbound), await broker.ids_in(TOPOLOGY.dead)
    assert sorted({*replayed, *dead}) == numbered(6)
    assert campaign.tally.done == len(replayed)


async def test_ten_thousand_letters_in_bounded_memory(broker: Broker, tmp_path: Path) -> None:
    """If all bodies were in memory at once, then the peak would be far beyond that of the command's own code."""
    await broker.bury(numbered(MANY), padding="x" * LETTER_BYTES)
    listed = await broker.measured(tmp_path, "list", "--json")
    replayed = await broker.measured(tmp_path, "replay", "--yes", "--why", "test", "--rate", "0", "--text", "evt-")
    assert [json.loads(line)["event_id"] for line in listed.output.splitlines()] == numbered(MANY)
    assert (listed.status, replayed.status) == (0, 0)
    assert max(listed.max_rss_mb, replayed.max_rss_mb) < MAX_RSS_MB
    assert sorted(await broker.ids_in(TOPOLOGY.outbound)) == numbered(MANY)


async def bury_five_kinds(broker: Broker) -> None:
    """What an operator meets: two reasons of the worker's, a doubt, one the broker gave up, and rubbish by hand."""
    await broker.give_up("killer")
    await broker.bury(["bad-1", "bad-2"])
    await broker.bury(["bug-1"], **{"sendas-dead-reason": "internal_error", "sendas-dead-detail": "KeyError"})
    await broker.bury(["bug-2"], **{"sendas-dead-reason": "internal_error", "sendas-dead-detail": "OSError"})
    await broker.bury(["doubt"], **{"sendas-dead-reason": "outcome_unknown"})
    for body in (b"\x00\xff by hand \x1b[31m", b"by hand \x9b2J", b"\x00\xff by hand \x1b[31m"):
        message = aio_pika.Message(body, delivery_mode=2)
        await broker.channel.default_exchange.publish(message, TOPOLOGY.dead)


async def test_one_letter_that_says_nothing_of_itself_is_found_seen_and_discarded(broker: Broker) -> None:
    """If somebody put rubbish there by hand, then one piece of it can be picked, whatever else is in the queue."""
    await bury_five_kinds(broker)
    listed = [json.loads(line) for line in (await broker.run("list", "--json")).out.splitlines()]
    assert [row["position"] for row in listed] == list(range(1, 10))
    assert len({row["digest"] for row in listed}) == 9
    again = (await broker.run("list", "--json", "--reason", "unknown")).out.splitlines()
    assert [json.loads(line) for line in again] == listed[6:]

    shown = await broker.run("show", "--position", "7")
    assert "00 ff 20 62 79 20 68 61 6e 64 20 1b 5b 33 31 6d" in shown.out
    assert "\x1b" not in shown.out
    moved = await broker.run("discard", "--position", "8", "--digest", listed[6]["digest"], "--yes", "--why", "moved")
    assert (moved.status, moved.out.splitlines()[0]) == (0, "discarded: 0")
    picked = await broker.run("discard", "--digest", listed[6]["digest"][:12], "--yes", "--why", "rubbish", "--json")
    assert (picked.status, picked.json()["discarded"]) == (0, 1)
    picked = await broker.run("discard", "--position", "7", "--yes", "--why", "rubbish", "--json")
    assert (picked.status, picked.json()["discarded"]) == (0, 1)

    left = [json.loads(line)["digest"] for line in (await broker.run("list", "--json")).out.splitlines()]
    assert left == [row["digest"] for row in (*listed[:6], listed[8])]
    refused = await broker.run("replay", "--position", "7", "--json")
    assert (refused.status, refused.json()["refused"]) == (1, {"no_destination": 1})


@pytest.mark.parametrize(
    "command", [["list"], ["stats"], ["export", "-"], ["show"], ["discard", "--yes", "--why", "x"]]
)
async def test_a_mistyped_filter_is_refused_and_an_empty_answer_is_none_to_fail_for(
    broker: Broker, command: list[str]
) -> None:
    nothing = await broker.run("list")
    assert (nothing.status, nothing.out, nothing.err) == (0, "", "there are no dead letters\n")
    await bury_five_kinds(broker)
    for option, words in (
        ("--reason=internal-error", "there are: internal_error (2), "),
        ("--account=acmee", "there are: acme (6), unknown (3)"),
        ("--worker-error=KeyEror", "there are: KeyError (1), OSError (1)"),
    ):
        refused = await broker.run(*command, option)
        assert (refused.status, refused.out, refused.err.count("\n")) == (2, "", 1)
        assert words in refused.err
    empty = await broker.run(*command, "--reason", "greylisted")
    assert empty.status == (1 if command == ["show"] else 0)
    assert "none of the 9 dead letters matches" in empty.err


async def test_equal_letters_come_back_as_often_as_they_were_exported(broker: Broker, tmp_path: Path) -> None:
    await bury_five_kinds(broker)
    file = tmp_path / "dead.jsonl"
    assert (await broker.run("export", str(file))).status == 0
    assert (await broker.run("import", str(file))).err == "imported 0 of 9 dead letters; 9 are in the queue already\n"
    assert (await broker.run("discard", "--position", "7", "--yes", "--why", "test")).status == 0
    assert (await broker.run("import", str(file))).err == "imported 1 of 9 dead letters; 8 are in the queue already\n"
    assert (await broker.run("discard", "--yes", "--why", "test")).status == 0
    assert (await broker.run("import", str(file))).err == "imported 9 of 9 dead letters\n"
    census = json.loads((await broker.run("stats", "--json")).out)
    reasons = {"internal_error": 2, "invalid_event": 2, "outcome_unknown": 1, "delivery_limit": 1, "unknown": 3}
    assert census["by_reason"] == reasons


async def test_without_the_workers_ledger_letters_go_back_as_new_events(broker: Broker) -> None:
    """If the command runs where the ledger is not, then a line says so, and nothing is believed but the events."""
    await broker.bury(["evt-1"])
    broker.ledger = "sqlite:////nowhere/ledger.db"
    replayed = await broker.run("replay", "--reason", "invalid_event", "--yes", "--why", "test", "--json")
    assert (replayed.status, replayed.json()["replayed"]) == (0, 1)
    assert replayed.err.startswith("no ledger at /nowhere/ledger.db (SENDAS_LEDGER_URL)")
    assert await broker.ids_in(TOPOLOGY.outbound) == ["evt-1"]

"""Whether one flooded and one dead mailbox slow down the others: the 99th percentile from publishing to acceptance.

    python -m bench.fairness [--quick] [--rounds 3] [--seconds 40] [--postgresql]

Undisturbed and disturbed rounds take turns, on two virtual hosts of one RabbitMQ, each with a worker of its own of
which only one runs at a time; so whatever else the machine does meets both alike, and what is compared is a ratio. On
the disturbed one a mailbox has a backlog of 100,000 letters, with a server that takes 0.2 s for each, and another
mailbox's server never says a word. The backlog is published before the rounds, and how long it takes until it has
gone to the delay queues is told too: whoever comes behind it in the work queue waits for that long.
"""

import argparse
import asyncio
import json
import statistics
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aio_pika

from bench.smtp_sink import Sink
from chaos.workers import Worker, sendas
from stack import PostgreSQL, RabbitMQ, private_directory, running
from worker.domain.topology import Topology

TOPOLOGY = Topology()
ALLOWED_RATIO = 1.2
FLOODED, DEAD = 0, 1
SLOW_S = 0.2
PER_ACCOUNT = 20
AT_ONCE = 500
DEAD_LETTERS = 100
READY_S, CALM_S, LATE_S, SETTLE_S = 60.0, 900.0, 60.0, 12.0


@dataclass(frozen=True)
class Plan:
    """The size of a run."""

    mailboxes: int
    backlog: int
    rounds: int
    seconds: float
    per_second: float


def address(number: int) -> str:
    return f"mailbox-{number}@acme.example"


def snapshot(plan: Plan, sink: Sink) -> str:
    """All mailboxes, twenty to an account; their server is the sink."""
    relay = {"host": "127.0.0.1", "port": sink.port, "security": "none", "auth": {"method": "none"}}
    accounts = [
        {
            "id": f"account-{first // PER_ACCOUNT}",
            "plan": "paid",
            "employees": [{"id": "ivan", "name": "Ivan", "internal_address": "ivan@product.example"}],
            "mailboxes": [_mailbox(n, sink) for n in range(first, min(first + PER_ACCOUNT, plan.mailboxes))],
        }
        for first in range(0, plan.mailboxes, PER_ACCOUNT)
    ]
    header = {"schema": "sendas.snapshot/v1", "version": 1, "generated_at": "2026-11-23T09:00:00Z"}
    return json.dumps({**header, "platform": {"relay": relay}, "accounts": accounts})


def _mailbox(number: int, sink: Sink) -> dict[str, object]:
    port = sink.silent_port if number == DEAD else sink.port
    auth = {"method": "password", "username": address(number), "secret": {"env": "SENDAS_SECRET_BENCH"}}
    return {
        "id": f"mailbox-{number}",
        "owner": {"kind": "company"},
        "address": address(number),
        "smtp": {"host": "127.0.0.1", "port": port, "security": "none", "auth": auth},
        "sent_copy": {"mode": "never"},
    }


def event(name: str, mailbox: int) -> aio_pika.Message:
    """A comment whose letter has this name as its subject."""
    body = {
        "specversion": "1.0",
        "id": name,
        "source": "/bench",
        "type": "comment.created",
        "time": "2026-11-23T10:00:00Z",
        "data": {
            "account_id": f"account-{mailbox // PER_ACCOUNT}",
            "author": {"employee_id": "ivan"},
            "task": {"id": name, "title": name},
            "comment": {"id": name, "html": "<p>Hello</p>", "created_at": "2026-11-23T09:59:58Z"},
            "mailbox_id": f"mailbox-{mailbox}",
            "subject": name,
            "recipients": [{"address": f"{name}@example.net"}],
        },
    }
    return aio_pika.Message(json.dumps(body).encode(), content_type="application/cloudevents+json", delivery_mode=2)


@dataclass
class Letters:
    """When letters were published and accepted."""

    published: dict[str, float] = field(default_factory=dict)
    latencies: dict[str, float] = field(default_factory=dict)
    others: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def took(self, subject: str, at: float) -> None:
        """The sink has taken one; only its first copy counts."""
        began = self.published.get(subject)
        if began is None:
            self.others += 1
        else:
            self.latencies.setdefault(subject, at - began)
            self.news.set()

    async def all_of(self, names: Sequence[str]) -> list[float]:
        """Wait for all of these, and give what each took in seconds."""
        async with asyncio.timeout(LATE_S):
            while not all(name in self.latencies for name in names):
                self.news.clear()
                await self.news.wait()
        return [self.latencies[name] for name in names]


class Side:
    """One virtual host, with its worker."""

    def __init__(self, name: str, url: str, worker: Worker, letters: Letters) -> None:
        self.name = name
        self._url = url
        self.worker = worker
        self._letters = letters
        self.latencies: list[list[float]] = []

    async def flood(self, plan: Plan) -> float:
        """Publish the backlog; gives how long the worker needs until nothing of it stands before others."""
        async with await aio_pika.connect(self._url) as connection:
            channel = await connection.channel()
            exchange = await channel.get_exchange(TOPOLOGY.events_exchange, ensure=False)
            for number in range(DEAD_LETTERS):
                await exchange.publish(event(f"dead-{number}", DEAD), "comment.created")
            for first in range(0, plan.backlog, AT_ONCE):
                names = [f"flood-{n}" for n in range(first, min(first + AT_ONCE, plan.backlog))]
                await asyncio.gather(*(exchange.publish(event(name, FLOODED), "comment.created") for name in names))
        began_s = time.monotonic()
        await self._calm()
        return time.monotonic() - began_s

    async def _calm(self) -> None:
        """Wait until nothing waits in the work queue."""
        async with await aio_pika.connect(self._url) as connection, asyncio.timeout(CALM_S):
            channel = await connection.channel()
            while True:
                queue = await channel.declare_queue(TOPOLOGY.outbound, passive=True)
                if not queue.declaration_result.message_count:
                    return
                await asyncio.sleep(0.2)

    async def start(self) -> None:
        await self.worker.start()
        async with asyncio.timeout(READY_S):
            while not await self.worker.is_ready():  # noqa: ASYNC110 - it is a process, which sets no event of ours
                await asyncio.sleep(0.1)
        await self._calm()
        # What had come back while no worker ran went away again all at once, and comes back so some seconds later.
        await asyncio.sleep(SETTLE_S)

    async def handled(self) -> float:
        """How many messages the worker has taken from its queue until now, fresh ones and those that came back."""
        page = await asyncio.to_thread(_page, f"http://127.0.0.1:{self.worker.http_port}/metrics")
        counts = [line for line in page.splitlines() if line.startswith("sendas_events_total{")]
        return sum(float(line.rpartition(" ")[2]) for line in counts)

    async def round(self, number: int, plan: Plan) -> list[float]:
        """Publish letters of all the other mailboxes in turn, evenly, and wait for them."""
        names = []
        async with await aio_pika.connect(self._url) as connection:
            channel = await connection.channel()
            exchange = await channel.get_exchange(TOPOLOGY.events_exchange, ensure=False)
            began_s = time.monotonic()
            for count in range(int(plan.seconds * plan.per_second)):
                await asyncio.sleep(began_s + count / plan.per_second - time.monotonic())
                mailbox = DEAD + 1 + count % (plan.mailboxes - DEAD - 1)
                name = f"{self.name}-{number}-{count}"
                names.append(name)
                self._letters.published[name] = time.monotonic()
                await exchange.publish(event(name, mailbox), "comment.created")
            latencies = await self._letters.all_of(names)
        self.latencies.append(latencies)
        return latencies


def _page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def percentile(values: Sequence[float], per_cent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[per_cent - 1]


def line(what: str, values: Sequence[float]) -> str:
    p50, p95, p99 = (1000 * percentile(values, per_cent) for per_cent in (50, 95, 99))
    return f"{what:<24} {len(values):>6} letters  p50 {p50:>7.1f}  p95 {p95:>7.1f}  p99 {p99:>7.1f} ms"


async def measure(plan: Plan, calm: Side, disturbed: Side, letters: Letters) -> bool:
    await disturbed.start()
    took_s = await disturbed.flood(plan)
    print(f"{plan.backlog} letters of one mailbox went to the delay queues in {took_s:.1f} s", flush=True)
    await disturbed.worker.stop()
    for number in range(plan.rounds + 1):  # the first of each is to warm up
        for side in (calm, disturbed):
            await side.start()
            before, handled, began_s = letters.others, await side.handled(), time.monotonic()
            latencies = await side.round(number, plan)
            per_second = (await side.handled() - handled) / (time.monotonic() - began_s)
            more = f"  {letters.others - before:>4} of the backlog, {per_second:.0f} messages/s"
            print(line(f"{side.name} {number or '(warming up)'}", latencies) + more, flush=True)
            await side.worker.stop()
    pooled = {side.name: [each for latencies in side.latencies[1:] for each in latencies] for side in (calm, disturbed)}
    for name, values in pooled.items():
        print(line(f"{name}, all rounds", values))
    ratio = percentile(pooled[disturbed.name], 99) / percentile(pooled[calm.name], 99)
    print(f"99th percentile, disturbed to undisturbed: {ratio:.2f} (at most {ALLOWED_RATIO} is promised)")
    return ratio <= ALLOWED_RATIO


def settings_of(url: str, ledger_url: str, snapshot_file: Path) -> Mapping[str, str]:
    accounts = [account["id"] for account in json.loads(snapshot_file.read_text())["accounts"]]
    return {
        "SENDAS_SECRET_REFERENCE_ACCOUNTS": ",".join(accounts),
        "SENDAS_BROKER_URL": url,
        "SENDAS_LEDGER_URL": ledger_url,
        "SENDAS_SNAPSHOT_URL": f"file:{snapshot_file}",
        "SENDAS_EGRESS_ALLOW": "127.0.0.0/8",
        "SENDAS_ALLOW_PLAINTEXT": "true",
        "SENDAS_SECRET_BENCH": "secret",
        "SENDAS_LOCAL_HOSTNAME": "localhost",
        "SENDAS_LOG_LEVEL": "WARNING",
    }


async def run(plan: Plan, *, is_postgresql: bool) -> bool:
    letters = Letters()
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(private_directory())
        broker = RabbitMQ(directory / "rabbitmq")
        await stack.enter_async_context(running(broker))
        database = PostgreSQL(directory / "postgresql") if is_postgresql else None
        if database is not None:
            await stack.enter_async_context(running(database))
        sink = await stack.enter_async_context(Sink(letters.took, {address(FLOODED): SLOW_S}))
        snapshot_file = directory / "snapshot.json"
        snapshot_file.write_text(snapshot(plan, sink))
        sides: list[Side] = []
        for number, name in enumerate(("undisturbed", "disturbed")):
            url = await broker.first.add_vhost(name)
            ledger_url = await database.add_database() if database else f"sqlite:///{directory / name}.db"
            settings = settings_of(url, ledger_url, snapshot_file)
            state = {"SENDAS_STATE_DIR": str(directory)}
            await sendas({**settings, **state}, "topology", "apply")
            await sendas({**settings, **state}, "ledger", "migrate")
            worker = Worker(number, directory / name, settings)
            stack.push_async_callback(worker.kill)
            sides.append(Side(name, url, worker, letters))
        return await measure(plan, sides[0], sides[1], letters)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure whether one mailbox slows down the others.")
    parser.add_argument("--quick", action="store_true", help="100 mailboxes and a backlog of 2,000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=None, help="of a round")
    parser.add_argument("--per-second", type=float, default=25.0, help="letters of the other mailboxes")
    parser.add_argument("--backlog", type=int, default=None, help="letters of the flooded mailbox")
    parser.add_argument("--postgresql", action="store_true", help="with the ledger in PostgreSQL")
    arguments = parser.parse_args()
    mailboxes, backlog, seconds = (100, 2_000, 10.0) if arguments.quick else (1_000, 100_000, 40.0)
    rounds = max(1, min(arguments.rounds, 10))
    seconds = max(2.0, min(arguments.seconds or seconds, 300.0))
    backlog = max(0, min(backlog if arguments.backlog is None else arguments.backlog, 1_000_000))
    plan = Plan(mailboxes, backlog, rounds, seconds, max(1.0, min(arguments.per_second, 500.0)))
    return 0 if asyncio.run(run(plan, is_postgresql=arguments.postgresql)) else 1


if __name__ == "__main__":
    raise SystemExit(main())

"""Whether what one customer does slows down the others: the 99th percentile from publishing to acceptance or answer.

    python -m bench.fairness [SCENARIO…] [--quick] [--rounds 3] [--seconds 40] [--postgresql]

Scenarios, each with a broker of its own and undisturbed and disturbed rounds that take turns (all, if none is named):

    backlog      a mailbox with a backlog of 100,000 letters, and one whose server never says a word
    stalling     an account of 64 mailboxes whose server stalls
    connections  a mailbox that asks for 1,000 connections, whose server stalls
    files        letters with files on a server that drips; the others' letters have files too
    names        64 mailboxes whose DNS is silent (as root: with a resolver of its own in a mount namespace)
    checks       a customer whose checks all hang; what is measured is the others' checks

The rounds run on two virtual hosts of one RabbitMQ, each with a worker of its own of which only one runs at a time; so
whatever else the machine does meets both alike, and what is compared is a ratio. Of a backlog it is told too how long
it takes to go to the delay queues: whoever comes behind it in the work queue waits for that long.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aio_pika

from bench.disturbances import (
    DEAD,
    FLOODED,
    PER_ACCOUNT,
    SCENARIOS,
    Disturbance,
    Json,
    Load,
    Scene,
    account,
    address,
    mailbox,
    message,
    smtp,
)
from bench.evil_servers import NameServer, StallingSmtp, file_server
from bench.smtp_sink import Sink
from chaos.workers import Worker, sendas
from stack import PostgreSQL, RabbitMQ, private_directory, running
from worker.domain.topology import Topology

TOPOLOGY = Topology()
ALLOWED_RATIO = 1.2
SLOW_S = 0.2
SINK_NAME, NAME_SERVER = "sink.bench.test", "127.0.0.77"
READY_S, CALM_S, LATE_S = 60.0, 900.0, 60.0
_IN_NAMESPACE = "BENCH_FAIRNESS_NAMESPACE"


@dataclass(frozen=True)
class Plan:
    """The size of a run. `settle_s`: after a worker's start, until what had come back meanwhile has gone away again."""

    load: Load
    rounds: int
    seconds: float
    per_second: float
    settle_s: float = 12.0


def snapshot(disturbance: Disturbance, scene: Scene, mailboxes: int) -> str:
    """All mailboxes, twenty to an account; their server is the sink. And what the disturbance adds."""
    relay = {"host": "127.0.0.1", "port": scene.sink, "security": "none", "auth": {"method": "none"}}

    def one(number: int) -> Json:
        server = smtp(scene.host, scene.silent if number == DEAD else scene.sink, address(number))
        return mailbox(f"mailbox-{number}", address(number), server)

    accounts = [
        account(f"account-{first // PER_ACCOUNT}", [one(n) for n in range(first, min(first + PER_ACCOUNT, mailboxes))])
        for first in range(0, mailboxes, PER_ACCOUNT)
    ]
    header = {"schema": "sendas.snapshot/v1", "version": 1, "generated_at": "2026-11-23T09:00:00Z"}
    return json.dumps({**header, "platform": {"relay": relay}, "accounts": accounts + disturbance.accounts(scene)})


@dataclass
class Probes:
    """When letters, or requests for checks, were published and accepted or answered."""

    published: dict[str, float] = field(default_factory=dict)
    latencies: dict[str, float] = field(default_factory=dict)
    others: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def took(self, name: str, at: float) -> None:
        """One has come through; only its first time counts."""
        began = self.published.get(name)
        if began is None:
            self.others += 1
        else:
            self.latencies.setdefault(name, at - began)
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

    def __init__(self, name: str, url: str, worker: Worker, probes: Probes) -> None:
        self.name = name
        self._url = url
        self.worker = worker
        self._probes = probes
        self.latencies: list[list[float]] = []

    async def publish(self, messages: Sequence[tuple[str, Json]]) -> None:
        """Events by their routing keys."""
        async with self._exchange() as exchange:
            await asyncio.gather(*(exchange.publish(message(event), key) for key, event in messages))

    @asynccontextmanager
    async def _exchange(self) -> AsyncIterator[aio_pika.abc.AbstractExchange]:
        async with await aio_pika.connect(self._url) as connection:
            channel = await connection.channel()
            yield await channel.get_exchange(TOPOLOGY.events_exchange, ensure=False)

    async def calm(self) -> None:
        """Wait until nothing waits in the work queues."""
        async with await aio_pika.connect(self._url) as connection, asyncio.timeout(CALM_S):
            channel = await connection.channel()
            for name in (TOPOLOGY.outbound, TOPOLOGY.mailbox_check):
                while (await channel.declare_queue(name, passive=True)).declaration_result.message_count:  # noqa: ASYNC110 - the broker sets no event of ours
                    await asyncio.sleep(0.2)

    async def start(self, settle_s: float) -> None:
        await self.worker.start()
        async with asyncio.timeout(READY_S):
            while not await self.worker.is_ready():  # noqa: ASYNC110 - it is a process, which sets no event of ours
                await asyncio.sleep(0.1)
        await self.calm()
        # What had come back while no worker ran went away again all at once, and comes back so some seconds later.
        await asyncio.sleep(settle_s)

    async def handled(self) -> float:
        """How many messages the worker has taken from its queue until now, fresh ones and those that came back."""
        page = await asyncio.to_thread(_page, f"http://127.0.0.1:{self.worker.http_port}/metrics")
        counts = [line for line in page.splitlines() if line.startswith("sendas_events_total{")]
        return sum(float(line.rpartition(" ")[2]) for line in counts)

    @asynccontextmanager
    async def answers(self) -> AsyncIterator[None]:
        """Take note of answered checks while the context lasts."""
        async with await aio_pika.connect(self._url) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(exclusive=True)
            await queue.bind(TOPOLOGY.results_exchange, "mailbox.checked")

            async def answered(arrival: aio_pika.abc.AbstractIncomingMessage) -> None:
                self._probes.took(json.loads(arrival.body)["data"]["event_id"], time.monotonic())

            await queue.consume(answered, no_ack=True)
            yield

    async def round(self, number: int, plan: Plan, disturbance: Disturbance, scene: Scene) -> list[float]:
        """Publish probes of all the other mailboxes in turn, evenly, and wait for them."""
        names = []
        async with self._exchange() as exchange, self.answers():
            began_s = time.monotonic()
            for count in range(int(plan.seconds * plan.per_second)):
                await asyncio.sleep(began_s + count / plan.per_second - time.monotonic())
                target = DEAD + 1 + count % (plan.load.mailboxes - DEAD - 1)
                name = f"{self.name}-{number}-{count}"
                names.append(name)
                key, event = disturbance.probe(scene, name, target)
                self._probes.published[name] = time.monotonic()
                await exchange.publish(message(event), key)
            latencies = await self._probes.all_of(names)
        self.latencies.append(latencies)
        return latencies


def _page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def percentile(values: Sequence[float], per_cent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[per_cent - 1]


def line(what: str, values: Sequence[float]) -> str:
    p50, p95, p99 = (1000 * percentile(values, per_cent) for per_cent in (50, 95, 99))
    return f"{what:<24} {len(values):>6} probes  p50 {p50:>7.1f}  p95 {p95:>7.1f}  p99 {p99:>7.1f} ms"


async def measure(
    plan: Plan, disturbance: Disturbance, scene: Scene, calm: Side, disturbed: Side, probes: Probes
) -> bool:
    await disturbed.start(plan.settle_s)
    began_s = time.monotonic()
    await disturbance.prepare(disturbed, plan.load)
    print(f"prepared in {time.monotonic() - began_s:.1f} s", flush=True)
    await disturbed.worker.stop()
    for number in range(plan.rounds + 1):  # the first of each is to warm up
        for side in (calm, disturbed):
            await side.start(plan.settle_s)
            if side is disturbed:
                await disturbance.begin(side, scene, plan.load, number)
            before, handled, began_s = probes.others, await side.handled(), time.monotonic()
            latencies = await side.round(number, plan, disturbance, scene)
            per_second = (await side.handled() - handled) / (time.monotonic() - began_s)
            more = f"  {probes.others - before:>4} others, {per_second:.0f} messages/s"
            print(line(f"{side.name} {number or '(warming up)'}", latencies) + more, flush=True)
            await disturbance.end(scene)
            await side.worker.stop()
    pooled = {side.name: [each for latencies in side.latencies[1:] for each in latencies] for side in (calm, disturbed)}
    for name, values in pooled.items():
        print(line(f"{name}, all rounds", values))
    ratio = percentile(pooled[disturbed.name], 99) / percentile(pooled[calm.name], 99)
    print(f"99th percentile, disturbed to undisturbed: {ratio:.2f} (at most {ALLOWED_RATIO} is promised)", flush=True)
    return ratio <= ALLOWED_RATIO


def settings_of(url: str, ledger_url: str, snapshot_file: Path, dns_port: int) -> Mapping[str, str]:
    accounts = [each["id"] for each in json.loads(snapshot_file.read_text())["accounts"]]
    return {
        "SENDAS_SECRET_REFERENCE_ACCOUNTS": ",".join(accounts),
        "SENDAS_BROKER_URL": url,
        "SENDAS_LEDGER_URL": ledger_url,
        "SENDAS_SNAPSHOT_URL": f"file:{snapshot_file}",
        "SENDAS_EGRESS_ALLOW": "127.0.0.0/8",
        "SENDAS_ALLOW_PLAINTEXT": "true",
        "SENDAS_FILES_ALLOW_HTTP": "true",
        "SENDAS_DNS_SERVER": f"127.0.0.1:{dns_port}",
        "SENDAS_SECRET_BENCH": "secret",
        "SENDAS_LOCAL_HOSTNAME": "localhost",
        "SENDAS_DRAIN_S": "2",  # what stalls would keep each round's end waiting
        "SENDAS_DRAIN_ANSWERS_S": "1",
        "SENDAS_LOG_LEVEL": "WARNING",
    }


async def run(name: str, plan: Plan, *, is_postgresql: bool) -> bool:
    """One scenario; True when the others did not notice more than is promised."""
    disturbance, probes = SCENARIOS[name], Probes()
    print(f"{name}: {(type(disturbance).__doc__ or '').splitlines()[0]}", flush=True)
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(private_directory())
        broker = RabbitMQ(directory / "rabbitmq")
        await stack.enter_async_context(running(broker))
        database = PostgreSQL(directory / "postgresql") if is_postgresql else None
        if database is not None:
            await stack.enter_async_context(running(database))
        sink = await stack.enter_async_context(Sink(probes.took, {address(FLOODED): SLOW_S}))
        names = NameServer({SINK_NAME: "127.0.0.1"})
        dns_port = await stack.enter_async_context(names.open("127.0.0.1", 0))
        if disturbance.needs_names:
            await stack.enter_async_context(names.open(NAME_SERVER, 53))
        scene = Scene(
            SINK_NAME if disturbance.needs_names else "127.0.0.1",
            sink.port,
            sink.silent_port,
            await stack.enter_async_context(StallingSmtp().open()),
            await stack.enter_async_context(file_server()),
        )
        snapshot_file = directory / "snapshot.json"
        snapshot_file.write_text(snapshot(disturbance, scene, plan.load.mailboxes))
        sides: list[Side] = []
        for number, side in enumerate(("undisturbed", "disturbed")):
            url = await broker.first.add_vhost(side)
            ledger_url = await database.add_database() if database else f"sqlite:///{directory / side}.db"
            settings = settings_of(url, ledger_url, snapshot_file, dns_port)
            state = {"SENDAS_STATE_DIR": str(directory)}
            await sendas({**settings, **state}, "topology", "apply")
            await sendas({**settings, **state}, "ledger", "migrate")
            worker = Worker(number, directory / side, settings)
            stack.push_async_callback(worker.kill)
            sides.append(Side(side, url, worker, probes))
        return await measure(plan, disturbance, scene, sides[0], sides[1], probes)


def again_with_resolver() -> int:
    """This very command once more, where the system's resolver asks ours."""
    with tempfile.NamedTemporaryFile("w", prefix="resolv", suffix=".conf") as configuration:
        configuration.write(f"nameserver {NAME_SERVER}\n")
        configuration.flush()
        mount = f'mount --bind {configuration.name} /etc/resolv.conf && exec "$@"'
        command = ["unshare", "-m", "sh", "-c", mount, "sh", sys.executable, "-m", "bench.fairness", *sys.argv[1:]]
        return subprocess.call(command, env={**os.environ, _IN_NAMESPACE: "1"})


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure whether one customer slows down the others.")
    parser.add_argument(
        "scenario", nargs="*", choices=[[], *SCENARIOS], metavar="SCENARIO", help="which ones; all, if none is named"
    )
    parser.add_argument("--quick", action="store_true", help="100 mailboxes, a backlog of 2,000, shorter rounds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=None, help="of a round")
    parser.add_argument("--per-second", type=float, default=None, help="probes of the other mailboxes")
    parser.add_argument("--backlog", type=int, default=None, help="letters of the flooded mailbox")
    parser.add_argument("--postgresql", action="store_true", help="with the ledger in PostgreSQL")
    arguments = parser.parse_args()
    chosen = arguments.scenario or list(SCENARIOS)
    if any(SCENARIOS[name].needs_names for name in chosen) and _IN_NAMESPACE not in os.environ:
        return again_with_resolver()
    mailboxes, backlog, evil, seconds = (100, 2_000, 300, 10.0) if arguments.quick else (1_000, 100_000, 1_000, 40.0)
    settle_s = 3.0 if arguments.quick else Plan.settle_s
    rounds = max(1, min(arguments.rounds, 10))
    seconds = max(2.0, min(arguments.seconds or seconds, 300.0))
    backlog = max(0, min(backlog if arguments.backlog is None else arguments.backlog, 1_000_000))
    is_good = True
    for name in chosen:
        per_second = arguments.per_second or (5.0 if SCENARIOS[name].is_check else 25.0)
        plan = Plan(Load(mailboxes, backlog, evil), rounds, seconds, max(1.0, min(per_second, 500.0)), settle_s)
        is_good &= asyncio.run(run(name, plan, is_postgresql=arguments.postgresql))
    return 0 if is_good else 1


if __name__ == "__main__":
    raise SystemExit(main())

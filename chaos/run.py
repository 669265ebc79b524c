"""One run: the parts are put together, faults happen, everything heals, and the account is made."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from chaos.account import Account, Evidence, account
from chaos.acting import Actors
from chaos.customers import (
    ACCOUNTS,
    PASSWORD,
    SECRETS,
    Configuration,
    Customer,
    customers,
)
from chaos.events import PlannedEvent, invalid_events, planned_events
from chaos.faults import Faults
from chaos.folders import read_sent
from chaos.mail import Mail, start_mail
from chaos.plan import Plan, schedule
from chaos.product import (
    RESULTS_QUEUE,
    EventPublisher,
    ResultsConsumer,
    announce,
    dead_letters,
    waiting_messages,
)
from chaos.results import Results
from chaos.snapshots import SnapshotSource
from chaos.waiting import LOOK_S, background, until
from chaos.workers import Worker, sendas
from stack import Authority, PostgreSQL, ServerError
from stack.dovecot import Dovecot
from stack.fault_proxy import FaultProxy
from stack.process import tail
from stack.rabbit_node import PASSWORD as BROKER_PASSWORD
from stack.rabbit_node import USER as BROKER_USER
from stack.rabbit_node import RabbitNode
from worker.domain.topology import Topology

_READY_WITHIN_S = 60.0
_HEARD_WITHIN_S = 30.0
# What waits 30 s or hours in earnest waits this long here. A policy can only shorten a queue's own time to live.
_DELAYS_MS = {r"\.delay\.5s$": 400, r"\.delay\.(\d\ds|.*[mh])$": 1_200}

Say = Callable[[str], None]


@dataclass(frozen=True)
class Servers:
    """The real servers that a run works with, all running; `vhost` and `ledger_url` are for it alone."""

    nodes: Sequence[RabbitNode]
    postgresql: PostgreSQL
    dovecot: Dovecot
    authority: Authority
    directory: Path
    ledger_url: str
    vhost: str = "/"


@dataclass
class Outcome:
    """What a run found."""

    account: Account
    faults: Mapping[str, int]
    extra: dict[str, object] = field(default_factory=dict)


class Run:
    """One run of a plan."""

    def __init__(self, plan: Plan, servers: Servers, say: Say) -> None:
        self._plan = plan
        self._servers = servers
        self._say = say
        self._faults = Faults()
        self._customers: tuple[Customer, ...] = customers(plan.mailboxes)
        self._events: list[PlannedEvent] = planned_events(plan, self._customers)
        self._invalid = invalid_events(plan)
        self._topology = Topology()
        self._began_at = time.monotonic()

    async def run(self) -> Outcome:
        """Everything, from the topology to the account."""
        async with AsyncExitStack() as stack:
            balancer = await stack.enter_async_context(FaultProxy(*(node.amqp_port for node in self._servers.nodes)))
            vhost = self._servers.vhost.removeprefix("/")
            url = f"amqp://{BROKER_USER}:{BROKER_PASSWORD}@127.0.0.1:{balancer.port}/{vhost}"
            mail = await start_mail(
                self._plan, self._customers, self._servers.dovecot, self._servers.authority, self._faults, stack
            )
            source = SnapshotSource(Configuration(self._customers, mail.ports))
            await stack.enter_async_context(source.serving())
            settings = self._settings(url, source)
            await self._prepare(settings)
            consumer = ResultsConsumer(url)
            await consumer.declare()
            workers = [
                Worker(number, self._servers.directory / f"worker{number}", settings)
                for number in range(self._plan.workers)
            ]
            for worker in workers:
                stack.push_async_callback(worker.kill)
            publisher = EventPublisher(url, self._events, self._invalid)
            actors = Actors(self._faults, self._servers.nodes, self._servers.postgresql, source, workers, balancer)
            await asyncio.gather(*(worker.start() for worker in workers))
            jobs = (consumer.run(), _repair(source, consumer), *(worker.keep() for worker in workers))
            async with background(*jobs):
                await self._until_ready(workers)
                await self._faulty_time(actors, publisher)
                await self._heal(url, source)
                left_over = await self._settle(url, consumer, workers)
            return await self._outcome(url, mail, consumer, publisher, workers, left_over)

    def _settings(self, url: str, source: SnapshotSource) -> dict[str, str]:
        return {
            "SENDAS_BROKER_URL": url,
            "SENDAS_LEDGER_URL": self._servers.ledger_url,
            "SENDAS_LEDGER_LEASE_S": str(self._plan.lease_s),
            "SENDAS_STATE_DIR": str(self._servers.directory),
            "SENDAS_SNAPSHOT_URL": f"http://127.0.0.1:{source.port}/snapshot",
            "SENDAS_SNAPSHOT_INTERVAL_S": "2",
            "SENDAS_EGRESS_ALLOW": "127.0.0.0/8",
            "SENDAS_TLS_CA_FILE": str(self._servers.authority.ca_file),
            "SENDAS_DRAIN_S": "8",
            "SENDAS_MAILBOX_RAMP_UP_S": "5",  # as everything that waits is shorter here
            "SENDAS_LOCAL_HOSTNAME": "worker.chaos.example",
            "SENDAS_LOG_FORMAT": "json",
            **dict.fromkeys(SECRETS, PASSWORD),
            "SENDAS_SECRET_REFERENCE_ACCOUNTS": ",".join(ACCOUNTS),
        }

    async def _prepare(self, settings: Mapping[str, str]) -> None:
        first = self._servers.nodes[0]
        for priority, (pattern, ttl_ms) in enumerate(_DELAYS_MS.items()):
            name, definition = f"chaos-delays-{priority}", f'{{"message-ttl": {ttl_ms}}}'
            where = ("-p", self._servers.vhost, "--priority", str(priority), "--apply-to", "queues")
            await first.ctl("set_policy", *where, name, pattern, definition)
        await asyncio.gather(sendas(settings, "topology", "apply"), sendas(settings, "ledger", "migrate"))

    async def _until_ready(self, workers: Sequence[Worker]) -> None:
        async def are_ready() -> bool:
            return all([await worker.is_ready() for worker in workers])

        if not await until(are_ready, _READY_WITHIN_S):
            raise ServerError(f"the workers are not ready\n{tail(workers[0].log)}")

    async def _faulty_time(self, actors: Actors, publisher: EventPublisher) -> None:
        began = asyncio.get_running_loop().time()
        self._say(f"{self._elapsed()} workers are ready; {self._plan.seconds:g} s of faults begin")
        self._faults.is_on = True
        playing = actors.play(schedule(self._plan), began, began + self._plan.seconds)
        await asyncio.gather(playing, publisher.run(began))
        self._faults.is_on = False

    async def _heal(self, url: str, source: SnapshotSource) -> None:
        """The servers are whole again, and every mailbox's settings are changed, so that none stays suspended."""
        for customer in self._customers:
            source.change(customer.id)
        await announce(url, source.version)
        self._say(f"{self._elapsed()} everything is whole again")

    async def _settle(self, url: str, consumer: ResultsConsumer, workers: Sequence[Worker]) -> dict[str, int]:
        """Wait for all results, then for quiet: with the workers stopped, whatever they held is back in its queue."""
        deadline = time.monotonic() + self._plan.settle_s
        queues = [queue.name for queue in self._topology.queues() if queue.name != self._topology.dead]
        while True:
            is_complete = await until(partial(self._is_complete, consumer.results), deadline - time.monotonic())
            self._say(f"{self._elapsed()} the results are {'complete' if is_complete else 'NOT complete'}")
            await asyncio.gather(*(worker.stop() for worker in workers))
            await asyncio.sleep(LOOK_S)  # the broker puts back what they held
            left_over = await waiting_messages(url, queues)
            if not left_over or time.monotonic() >= deadline:
                await self._until_all_is_heard(url)
                return left_over
            self._say(f"{self._elapsed()} still waiting: {left_over}")
            await asyncio.gather(*(worker.start() for worker in workers))
            await self._until_ready(workers)
            await asyncio.sleep(2)

    async def _until_all_is_heard(self, url: str) -> None:
        async def is_heard() -> bool:
            return not await waiting_messages(url, [RESULTS_QUEUE])

        await until(is_heard, _HEARD_WITHIN_S)

    async def _is_complete(self, results: Results) -> bool:
        for event in self._events:
            for address in event.recipients:
                finals = results.finals.get((event.id, address))
                if not finals:
                    return False
                if event.customer is None:
                    continue
                if any(f.type == "mail.sent" and f.message_id not in results.copies for f in finals.values()):
                    return False
        return True

    async def _outcome(
        self,
        url: str,
        mail: Mail,
        consumer: ResultsConsumer,
        publisher: EventPublisher,
        workers: Sequence[Worker],
        left_over: Mapping[str, int],
    ) -> Outcome:
        folders = {
            customer: await asyncio.to_thread(read_sent, self._servers.dovecot.imap_port, customer)
            for customer in self._customers
        }
        evidence = Evidence(
            events=self._events,
            invalid=self._invalid,
            accepted=[accepted for server in mail.servers for accepted in server.accepted],
            refusals={token: said for rule in mail.mischief for token, said in rule.refusals.items()},
            results=consumer.results,
            folders=folders,
            dead=await dead_letters(url),
            left_over=left_over,
        )
        extra: dict[str, object] = {
            "published_twice": publisher.publishing.repeated_on_purpose,
            "publish_retries": publisher.publishing.tried_again,
            "results": consumer.results.received,
            "results_repeated": consumer.results.repeats,
            "deferred": consumer.results.deferred,
            "worker_ends": sorted(code for worker in workers for code in worker.ends),
            "seconds": round(time.monotonic() - self._began_at, 1),
        }
        return Outcome(account(evidence), dict(self._faults.counts), extra)

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._began_at:6.1f} s"


async def _repair(source: SnapshotSource, consumer: ResultsConsumer) -> None:
    """Do what a customer does who hears that a mailbox is suspended: change its settings."""
    while True:
        await asyncio.sleep(LOOK_S)
        while consumer.results.suspended:
            source.change(consumer.results.suspended.pop())

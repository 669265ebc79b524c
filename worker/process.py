"""A worker's lifecycle: starts step by step, runs until signalled, and leaves nothing half done."""

import asyncio
import gc
import platform
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import TypeVar

import structlog
from prometheus_client import CollectorRegistry

from worker import __version__
from worker.adapters.addresses.broker import BrokerAddress
from worker.adapters.addresses.ledger import LedgerAddress
from worker.adapters.broker.configuration_events import ConfigurationEvents
from worker.adapters.broker.consumer import Consumer
from worker.adapters.broker.publisher import Publisher
from worker.adapters.broker.queue_depths import QueueDepths
from worker.adapters.broker.topology import check_topology
from worker.adapters.clock import SystemClock
from worker.adapters.health_server import serve_http
from worker.adapters.ledger import SqlLedger
from worker.adapters.ledger.heartbeat import LeaseHeartbeat
from worker.adapters.ledger.shared_memory import MailboxMemory, mailbox_memory
from worker.adapters.network.tls import client_context
from worker.adapters.snapshot.refresher import Refresh, RefreshOutcome, Schedule, SnapshotRefresher
from worker.addresses import broker_of, ledger_of, tls_of
from worker.app import (
    Outside,
    delivery_rules,
    make_state_dir,
    open_ledger_patiently,
    open_outside,
    snapshot_source,
    token_telling,
)
from worker.background import background, first_of, set_on_signals
from worker.delivery import requeue
from worker.delivery.instrumentation import NO_TRACING, Tracer
from worker.delivery.limits import IN_HAND_FACTOR
from worker.delivery.mailboxes.in_hand import InHand
from worker.delivery.messages import Arrival, Publication
from worker.delivery.places import Places
from worker.delivery.results import Reporter
from worker.delivery.services import Services
from worker.delivery.signatures import Signatures
from worker.delivery.wiring import Delivery, build_delivery
from worker.errors import Unavailable
from worker.operations.mailbox_check.handler import CheckHandler
from worker.settings import Settings
from worker.telemetry.health import Health, watch_loop
from worker.telemetry.metrics import READINGS, Metrics, Readings, add_process_metrics
from worker.telemetry.observer import MetricsObserver
from worker.telemetry.tracing import tracing

log = structlog.get_logger(__name__)

T = TypeVar("T")

_RESCHEDULED_AT_A_TIME = 4  # at most this many places for backlogs, which arrive in bulk
_EXPIRE_EVERY_S = 3_600.0
_STARTING = "starting"


class Stopped(Exception):
    """The worker was signalled to stop before it had started."""


class Worker:
    """One worker process, from start to shutdown."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = asyncio.Event()
        self._registry = CollectorRegistry()
        self._metrics = Metrics(self._registry, settings.topology)
        self._readings = Readings(self._registry, READINGS)
        self._tracer: Tracer = NO_TRACING
        self._health = Health()
        self._phase: str | None = _STARTING

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT; returns when everything in flight is finished or requeued.

        Raises:
            ConfigurationError: a setting is wrong in a way only the start can detect.
        """
        self._prepare()
        with suppress(Stopped):
            async with AsyncExitStack() as stack:
                await self._work(stack)
        log.info("worker.stopped")

    def _prepare(self) -> None:
        set_on_signals(self._stop)
        add_process_metrics(self._registry)
        self._metrics.build.info({"version": __version__, "python": platform.python_version()})
        self._health.require("worker", lambda: self._phase)
        self._readings.add("sendas_ready", lambda: float(not self._health.problems()))
        self._readings.add_by_label("sendas_readiness_condition", self._health.conditions)

    async def _work(self, stack: AsyncExitStack) -> None:
        settings = self._settings
        # Before waiting for anything: errors in these settings would look like an outage.
        broker, ledger_address = broker_of(settings), ledger_of(settings)
        port = await stack.enter_async_context(
            serve_http(settings.http_host, settings.http_port, self._health, self._registry)
        )
        log.info("worker.starting", version=__version__, http_port=port)
        self._tracer = await stack.enter_async_context(
            tracing(settings.tracing, __version__, lambda: client_context(tls_of(settings)))
        )
        make_state_dir(settings)
        memory = await stack.enter_async_context(mailbox_memory(ledger_address, SystemClock()))
        rotated = asyncio.Event()
        outside = await stack.enter_async_context(self._outside(memory, rotated.set))
        self._phase = "waiting for the ledger"
        ledger = await self._unless_stopped(self._opened_ledger(ledger_address, stack))
        snapshot = await stack.enter_async_context(self._snapshot())
        self._phase = "waiting for the broker"
        await self._unless_stopped(check_topology(broker, settings.topology))
        self._phase = "waiting for the first configuration snapshot"
        await self._unless_stopped(snapshot.wait_until_ready())
        signatures = Signatures(ledger.message_key)
        publisher = Publisher(broker, self._metrics, max_bytes=settings.max_message_bytes, signatures=signatures)
        delivery = self._delivery(outside, memory, ledger, snapshot, publisher)
        telling = token_telling(settings, memory.refresh_tokens, outside, snapshot, publisher.publish)
        consumers = self._consumers(broker, delivery, publisher, signatures)
        consumers.append(self._checking(broker, outside, snapshot, publisher, signatures))
        depths, keeping = QueueDepths(broker, settings.topology), LeaseHeartbeat(ledger, settings.ledger_lease_s)
        self._watch(outside, delivery, snapshot, publisher, consumers)
        self._health.require("ledger", keeping.problem)
        self._readings.add_by_labels("sendas_queue_messages", depths.messages)
        self._readings.add_by_label("sendas_queue_consumers", depths.consumers)
        async with background(
            publisher.run(),
            ConfigurationEvents(broker, settings.topology, snapshot).run(),
            keeping.run(),
            self._expire_ledger(ledger, memory),
            depths.run(),
            watch_loop(self._metrics.loop_lag.observe),
            delivery.sync.run(),
            telling.run(rotated),
            *(consumer.run() for consumer in consumers),
        ) as failed:
            gc.collect()
            gc.freeze()  # start-up objects are permanent: scanning them for garbage blocks the loop for 80 ms each time
            self._phase = None
            log.info("worker.started")
            await first_of(self._stop.wait(), failed)
            await self._drain(consumers)

    def _outside(self, memory: MailboxMemory, rotated: Callable[[], None]) -> AbstractAsyncContextManager[Outside]:
        refreshes = self._metrics.token_refreshes
        return open_outside(
            self._settings,
            memory.refresh_tokens,
            rotated,
            refreshed=lambda result: refreshes.labels(result=result).inc(),
            tracer=self._tracer,
        )

    async def _drain(self, consumers: list[Consumer]) -> None:
        self._health.drain()
        log.info("worker.draining", in_flight=sum(consumer.in_flight for consumer in consumers))
        times = self._settings.drain_s, self._settings.drain_answers_s
        await asyncio.gather(*(consumer.stop(*times) for consumer in consumers))

    async def _unless_stopped(self, step: Awaitable[T]) -> T:
        """Await the step's result, or raise `Stopped` when the worker is signalled to stop."""
        task = asyncio.ensure_future(step)
        stop = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise Stopped

    async def _opened_ledger(self, address: LedgerAddress, stack: AsyncExitStack) -> SqlLedger:
        ledger = await open_ledger_patiently(self._settings, address, self._metrics)
        stack.push_async_callback(ledger.close)
        return ledger

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[SnapshotRefresher]:
        schedule = Schedule(interval_s=self._settings.snapshot_interval_s)
        keeper = SnapshotRefresher(
            snapshot_source(self._settings),
            self._settings.state_dir / "snapshots",
            SystemClock(),
            self._looked,
            schedule,
            reference_accounts=self._settings.reference_accounts,
        )
        await keeper.start()
        try:
            yield keeper
        finally:
            await keeper.close()

    def _looked(self, look: Refresh) -> None:
        """Record the outcome of a snapshot refresh."""
        self._metrics.snapshot_looks.labels(outcome=look.outcome.value).inc()
        if look.version is not None:
            self._metrics.snapshot_version.set(look.version)
            self._metrics.snapshot_accounts.set(look.accounts)
            self._metrics.snapshot_left_out.set(look.left_out)
        fields = {"version": look.version, "accounts": look.accounts, "left_out": look.left_out}
        if look.outcome is RefreshOutcome.RENEWED:
            log.info("snapshot.refreshed", **fields, seconds=round(look.duration_s, 3))
            for problem in look.problems:
                log.warning("snapshot.account_left_out", problem=str(problem))
        elif look.outcome is not RefreshOutcome.UNCHANGED:
            log.warning("snapshot.refresh_failed", outcome=look.outcome.value, why=look.message, **fields)

    def _delivery(
        self,
        outside: Outside,
        memory: MailboxMemory,
        ledger: SqlLedger,
        snapshot: SnapshotRefresher,
        publisher: Publisher,
    ) -> Delivery:
        services = Services(
            rules=delivery_rules(self._settings),
            snapshot=snapshot,
            ledger=ledger,
            mailboxes=ledger.mailboxes,
            transport=outside.transport,
            sent_folder=outside.sent_folder,
            files=outside.files,
            clock=SystemClock(),
            observer=MetricsObserver(self._metrics, self._tracer),
            publish=publisher.publish,
            sent_habits=memory.sent_habits,
            tracer=self._tracer,
        )
        return build_delivery(services)

    def _consumers(
        self, broker: BrokerAddress, delivery: Delivery, publisher: Publisher, signatures: Signatures
    ) -> list[Consumer]:
        topology, clock = self._settings.topology, SystemClock()

        def put_back(arrival: Arrival) -> Publication:
            return requeue.put_back(arrival, topology, clock.now())

        stages = (
            (topology.outbound, delivery.pipeline.handle, IN_HAND_FACTOR * self._settings.concurrency),
            (topology.backlog, delivery.rescheduler.handle, _RESCHEDULED_AT_A_TIME),
            (topology.sent_copy, delivery.copies.handle, IN_HAND_FACTOR * self._settings.copy_concurrency),
        )
        return [
            Consumer(
                broker,
                queue,
                handler,
                publisher,
                self._metrics,
                prefetch=prefetch,
                tracer=self._tracer,
                put_back=put_back,
                signatures=signatures,
            )
            for queue, handler, prefetch in stages
        ]

    def _checking(
        self,
        broker: BrokerAddress,
        outside: Outside,
        snapshot: SnapshotRefresher,
        publisher: Publisher,
        signatures: Signatures,
    ) -> Consumer:
        """Consume mailbox checks, with a queue and places of their own: letters never wait for a slow check."""
        settings, topology = self._settings, self._settings.topology
        handler = CheckHandler(
            outside.check,
            snapshot=snapshot,
            reporter=Reporter(settings.source, topology.results_exchange),
            topology=topology,
            clock=SystemClock(),
            observer=MetricsObserver(self._metrics),
            in_hand=InHand(Places(settings.check_concurrency, settings.shares), SystemClock()),
            tracer=self._tracer,
        )
        return Consumer(
            broker,
            topology.mailbox_check,
            handler.handle,
            publisher,
            self._metrics,
            signatures=signatures,
            prefetch=settings.check_concurrency,  # no check waits here for a place that another worker may have
            tracer=self._tracer,
        )

    def _watch(
        self,
        outside: Outside,
        delivery: Delivery,
        snapshot: SnapshotRefresher,
        publisher: Publisher,
        consumers: list[Consumer],
    ) -> None:
        """Register the conditions of readiness and the readings of each scrape."""
        for consumer in consumers:
            self._health.require(consumer.queue, consumer.problem)
        self._health.require("publisher", publisher.problem)
        numbers, lanes = outside.connections, delivery.lanes
        add = self._readings.add
        self._readings.add_by_label("sendas_in_flight", lambda: {c.queue: c.in_flight for c in consumers})
        self._readings.add_by_label("sendas_prefetch", lambda: {c.queue: c.prefetch for c in consumers})
        add("sendas_lanes_waiting", lambda: lanes.waiting)
        add("sendas_oldest_unfinished_event_seconds", lambda: delivery.unfinished.oldest_age_s(SystemClock().now()))
        add("sendas_publish_waiting_seconds", lambda: publisher.waiting_s)
        add("sendas_snapshot_age_seconds", lambda: snapshot.age_s or 0.0)
        self._readings.add_by_label("sendas_token_expiry_seconds", outside.token_expiries_s)
        add("sendas_smtp_connections", lambda: numbers().open)
        add("sendas_smtp_connections_idle", lambda: numbers().idle)
        add("sendas_smtp_connections_opened", lambda: numbers().opened_total)
        add("sendas_smtp_connections_reused", lambda: numbers().reused_total)
        self._readings.add_by_label("sendas_mailboxes_suspended", delivery.suspensions.counts)

    async def _expire_ledger(self, ledger: SqlLedger, memory: MailboxMemory) -> None:
        while True:
            with suppress(Unavailable):  # only housekeeping; the next hour will do
                forgotten = await ledger.expire()
                log.info("ledger.expired", entries=forgotten)
                await memory.forget()
            await asyncio.sleep(_EXPIRE_EVERY_S)

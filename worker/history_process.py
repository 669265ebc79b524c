"""The process of `sendas history consume`: stores results from their queue until SIGTERM."""

import asyncio
import platform
from datetime import timedelta

import structlog
from prometheus_client import CollectorRegistry

from worker import __version__
from worker.adapters.addresses.broker import BrokerAddress
from worker.adapters.addresses.ledger import LedgerAddress
from worker.adapters.broker.batches import BatchConsumer
from worker.adapters.clock import SystemClock
from worker.adapters.health_server import serve_http
from worker.adapters.history import SqlHistoryWriter, open_history_writer
from worker.addresses import broker_of, history_of
from worker.app import make_state_dir
from worker.background import background, first_of, set_on_signals
from worker.errors import Unavailable
from worker.history.addresses import AddressPolicy
from worker.history.keeping import Keeper
from worker.history_access import history_addresses
from worker.settings import Settings
from worker.telemetry.health import Health
from worker.telemetry.history_metrics import HISTORY_READINGS, HistoryMetrics
from worker.telemetry.metrics import Readings, add_process_metrics

log = structlog.get_logger(__name__)

_DATABASE_RETRY_S = 2.0
_EXPIRE_EVERY_S = 600.0
_STOP_S = 10.0


class HistoryProcess:
    """One process that stores the history, from start to shutdown."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = asyncio.Event()
        self._registry = CollectorRegistry()
        self._metrics = HistoryMetrics(self._registry)
        self._readings = Readings(self._registry, HISTORY_READINGS)
        self._health = Health()
        self._phase: str | None = "starting"

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT; returns when the current batch is stored.

        Raises:
            ConfigurationError: a setting is wrong in a way only the start can detect.
        """
        settings = self._settings
        # Before waiting for anything: errors in these settings would look like an outage.
        broker, address, addresses = broker_of(settings), history_of(settings), history_addresses(settings)
        make_state_dir(settings)
        self._prepare()
        async with serve_http(settings.http_host, settings.http_port, self._health, self._registry) as port:
            log.info("history.starting", version=__version__, http_port=port)
            self._phase = "waiting for the database"
            opening = asyncio.ensure_future(self._opened(address))
            await first_of(self._stop.wait(), opening)
            if not opening.cancelled() and opening.done():
                await self._keep(broker, addresses, opening.result())
        log.info("history.stopped")

    def _prepare(self) -> None:
        set_on_signals(self._stop)
        add_process_metrics(self._registry)
        self._metrics.build.info({"version": __version__, "python": platform.python_version()})
        self._health.require("process", lambda: self._phase)
        self._readings.add("sendas_history_ready", lambda: float(not self._health.problems()))
        self._readings.add_by_label("sendas_history_condition", self._health.conditions)

    async def _opened(self, address: LedgerAddress) -> SqlHistoryWriter:
        """Open the database, waiting and logging while it is unavailable."""
        while True:
            try:
                return await open_history_writer(address)
            except Unavailable as error:
                log.warning("history.waiting", error=str(error), wait_s=_DATABASE_RETRY_S)
                await asyncio.sleep(_DATABASE_RETRY_S)

    async def _keep(self, broker: BrokerAddress, addresses: AddressPolicy, writer: SqlHistoryWriter) -> None:
        keeper = Keeper(writer, addresses, SystemClock(), self._metrics)
        topology = self._settings.topology
        consumer = BatchConsumer(
            broker, topology, topology.history, keeper.keep, SystemClock(), paused=self._metrics.pauses.inc
        )
        self._health.require("results", consumer.problem)
        self._phase = None
        try:
            async with background(consumer.run(), self._expire(writer)) as failed:
                await first_of(self._stop.wait(), failed)
                self._health.drain()
                await consumer.stop(_STOP_S)
        finally:
            await writer.close()

    async def _expire(self, writer: SqlHistoryWriter) -> None:
        """Delete records past the retention, a bounded number of rows at a time."""
        retention = timedelta(days=self._settings.history_retention_days)
        while True:
            try:
                while deleted := await writer.expire(SystemClock().now() - retention):
                    self._metrics.expired.inc(deleted)
            except Unavailable as error:  # only housekeeping: the next run will do
                log.warning("history.not_expired", error=str(error))
            await asyncio.sleep(_EXPIRE_EVERY_S)

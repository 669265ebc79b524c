"""The console's composition root: connects its pages to the real world."""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import structlog
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from worker.adapters.broker.dead_letter_queue import open_dead_queue
from worker.adapters.broker.publisher import Publisher
from worker.adapters.broker.queue_depths import QueueDepths
from worker.adapters.clock import SystemClock
from worker.adapters.ledger import SqlLedger
from worker.adapters.ledger.shared_memory import mailbox_memory
from worker.adapters.network.tls import client_context
from worker.adapters.snapshot.refresher import Schedule, SnapshotRefresher
from worker.adapters.worker_status import WorkerHealthPorts
from worker.addresses import broker_of, ledger_of, tls_of
from worker.app import delivery_rules, make_state_dir, open_ledger_patiently, open_outside, snapshot_source
from worker.background import background
from worker.console.app import create_app
from worker.console.auth.oidc import OpenIdConnect
from worker.console.auth.pages import Door
from worker.console.auth.passwords import Passwords
from worker.console.auth.people import People
from worker.console.auth.proxies import Proxies, ProxySignIn
from worker.console.auth.sessions import Sessions
from worker.console.auth.signing_in import HeaderSignIn, SessionSignIn
from worker.console.checks import MailboxChecks
from worker.console.dead_letters.desk import DeadLetterDesk, Office
from worker.console.mailboxes import MailboxDesk
from worker.console.metrics import ConsoleMetrics
from worker.console.ports import OpenQueue, SignIn
from worker.console.record import ActRecord
from worker.console.services import Services
from worker.console_settings import ConsoleSettings
from worker.delivery.mailboxes.suspensions import Suspensions
from worker.delivery.messages import Publication, Publish
from worker.delivery.results import Reporter
from worker.delivery.signatures import Signatures
from worker.errors import ConfigurationError, Unavailable
from worker.history.port import History
from worker.history_access import history_from
from worker.operations.dead_letters.queue import DeadQueue
from worker.setting_files import read_setting
from worker.settings import Settings
from worker.telemetry.metrics import Metrics

_BROKER_S = 20.0
_RETRY_S = 2.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Entrance:
    """A way to sign in."""

    sign_in: SignIn
    routes: Sequence[BaseRoute] = ()
    sessions: Callable[[], int] = lambda: 0


@asynccontextmanager
async def open_console(
    settings: Settings, own: ConsoleSettings, registry: CollectorRegistry, port: int
) -> AsyncIterator[Starlette]:
    """Build the console with real adapters; waits for the ledger's database. `port` is the one it is served on.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    origin = own.url or own.model_copy(update={"port": port}).origin
    broker, clock, metrics = broker_of(settings), SystemClock(), Metrics(CollectorRegistry())
    entrance = _entrance(settings, own, origin)
    async with AsyncExitStack() as stack:
        make_state_dir(settings)
        ledger = await open_ledger_patiently(settings, ledger_of(settings), metrics)
        stack.push_async_callback(ledger.close)
        history = await _opened_history(settings, stack)
        snapshots = _snapshots(settings)
        await snapshots.start()
        stack.push_async_callback(snapshots.close)
        memory = await stack.enter_async_context(mailbox_memory(ledger_of(settings), clock))
        # A token that a check refreshes is stored for the workers, which pick it up and publish it.
        outside = await stack.enter_async_context(open_outside(settings, memory.refresh_tokens, lambda: None))
        signatures = Signatures(ledger.message_key)
        publisher = Publisher(
            broker, metrics, max_bytes=settings.max_message_bytes, name="sendas-console", signatures=signatures
        )
        depths = QueueDepths(broker, settings.topology)
        await stack.enter_async_context(background(publisher.run(), depths.run()))
        publish = _Bounded(publisher).publish
        desk = DeadLetterDesk(_office(settings, ledger, signatures, publish))
        checks = MailboxChecks(outside.check, clock, settings.check_concurrency)
        stack.push_async_callback(desk.close)
        stack.push_async_callback(checks.close)
        reporter = Reporter(settings.source, settings.topology.results_exchange)
        console_metrics = ConsoleMetrics(registry)
        console_metrics.sessions.set_function(entrance.sessions)
        services = Services(
            sign_in=entrance.sign_in,
            history=history,
            dead_letters=desk,
            mailboxes=MailboxDesk(
                ledger.mailboxes,
                Suspensions(ledger.mailboxes, reporter, publish, clock),
                snapshots,
                delivery_rules(settings).limits,
                clock,
            ),
            checks=checks,
            snapshots=snapshots,
            workers=WorkerHealthPorts(own.worker_urls),
            depths=depths,
            record=ActRecord(console_metrics),
            metrics=console_metrics,
            clock=clock,
            is_tls=origin.startswith("https:"),
        )
        yield create_app(services, entrance.routes, origin)


async def _opened_history(settings: Settings, stack: AsyncExitStack) -> History | None:
    """Open the history, waiting while its database is unavailable; None if the history is off."""
    while settings.history != "off":
        try:
            return await stack.enter_async_context(history_from(settings))
        except Unavailable as error:
            log.warning("history.waiting", error=str(error), wait_s=_RETRY_S)
            await asyncio.sleep(_RETRY_S)
    return None


def _snapshots(settings: Settings) -> SnapshotRefresher:
    return SnapshotRefresher(
        snapshot_source(settings),
        settings.state_dir / "snapshots",
        SystemClock(),
        lambda _: None,
        Schedule(interval_s=settings.snapshot_interval_s),
        reference_accounts=settings.reference_accounts,
    )


def _office(settings: Settings, ledger: SqlLedger, signatures: Signatures, publish: Publish) -> Office:
    return Office(
        open_queue=_dead_queue(settings),
        publish=publish,
        topology=settings.topology,
        source=settings.source,
        signatures=signatures,
        consents=ledger,
        retention=timedelta(days=settings.ledger_retention_days),
        clock=SystemClock(),
    )


def _dead_queue(settings: Settings) -> OpenQueue:
    broker, name = broker_of(settings), settings.topology.dead

    @asynccontextmanager
    async def opened() -> AsyncIterator[DeadQueue]:
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(_BROKER_S):
                    queue = await stack.enter_async_context(open_dead_queue(broker, name))
            except TimeoutError:
                raise Unavailable("the broker does not answer") from None
            yield queue

    return opened


class _Bounded:
    """Publishes with a time limit, because a page waits for the answer."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def publish(self, publication: Publication) -> None:
        try:
            async with asyncio.timeout(_BROKER_S):
                await self._publisher.publish(publication)
        except TimeoutError:
            raise Unavailable("the broker does not answer") from None


def _entrance(settings: Settings, own: ConsoleSettings, origin: str) -> Entrance:
    """The sign-in method that the settings select."""
    if own.people_file is None:
        raise ConfigurationError("SENDAS_CONSOLE_PEOPLE_FILE is not set: it says who may do what")
    people, proxies = People(own.people_file), Proxies(own.proxy_networks)
    if own.sign_in == "proxy":
        proxy = ProxySignIn(proxies, own.proxy_user_header, own.proxy_groups_header)
        key = secrets.token_bytes(32)
        return Entrance(
            HeaderSignIn(people, proxy, lambda name: hmac.new(key, name.encode(), hashlib.sha256).hexdigest())
        )
    sessions = Sessions(own.session_minutes * 60.0, own.idle_minutes * 60.0, time.monotonic)
    sign_in = SessionSignIn(people, sessions, is_tls=origin.startswith("https:"))
    if own.sign_in == "oidc":
        door = Door(people, sign_in, proxies, origin, provider=_provider(settings, own))
    else:
        door = Door(people, sign_in, proxies, origin, passwords=Passwords(people, time.monotonic))
    return Entrance(sign_in, door.routes(), lambda: len(sessions))


def _provider(settings: Settings, own: ConsoleSettings) -> OpenIdConnect:
    secret = None
    if own.oidc_client_secret_file is not None:
        try:
            secret = read_setting(own.oidc_client_secret_file)
        except ValueError as error:
            raise ConfigurationError(f"SENDAS_CONSOLE_OIDC_CLIENT_SECRET_FILE: {error}") from None
    return OpenIdConnect(
        own.oidc_issuer or "",
        own.oidc_client_id or "",
        secret,
        scopes=own.oidc_scopes,
        claims=(own.oidc_name_claim, own.oidc_groups_claim),
        tls=client_context(tls_of(settings)),
    )

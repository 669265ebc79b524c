"""The composition root: wires the delivery to the real world."""

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import structlog

from worker.adapters.addresses.ledger import LedgerAddress
from worker.adapters.auth.credentials import SecretCredentials
from worker.adapters.auth.oauth import TokenSource
from worker.adapters.auth.secrets import SealingKeys, SecretStore, load_sealing_keys
from worker.adapters.auth.token_rotation import RotationKeeper
from worker.adapters.clock import SystemClock
from worker.adapters.dkim import DkimSignatures
from worker.adapters.imap.connection import ImapTimeouts
from worker.adapters.imap.sent_folder import ImapSentFolder
from worker.adapters.ledger import LedgerOptions, SqlLedger, open_ledger
from worker.adapters.network.dns import DnsLookups
from worker.adapters.network.egress import EgressGuard, GuardedDialer, SystemResolver
from worker.adapters.network.files import HttpFileStore
from worker.adapters.network.http import guarded_client_session, guarded_connector
from worker.adapters.network.tls import EncryptedSentFolder, EncryptedTransport, client_context
from worker.adapters.probes import ServerProbes
from worker.adapters.smtp import PoolLimits, PoolNumbers, SmtpTransport
from worker.adapters.snapshot.file_source import FileSource, Source
from worker.adapters.snapshot.http_source import HttpSource
from worker.addresses import tls_of
from worker.delivery.instrumentation import NO_TRACING, Tracer
from worker.delivery.limits import IN_HAND_FACTOR, CopyLimits, Limits
from worker.delivery.messages import Publish
from worker.delivery.ports import FileStore, MailTransport, SentFolder, SnapshotService
from worker.delivery.results import Reporter
from worker.delivery.services import Rules
from worker.delivery.token_rotation import IsOf, RefreshTokens, TokenRotationNotifier
from worker.domain.egress import IMAP_PORTS, SMTP_PORTS
from worker.domain.snapshot.secret_references import References
from worker.environment import secret_variables
from worker.errors import ConfigurationError, Unavailable
from worker.operations.mailbox_check.check import MailboxCheck
from worker.settings import Settings
from worker.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_LEDGER_RETRY_S = 2.0


@dataclass(frozen=True, slots=True)
class Outside:
    """Adapters for mail servers, Sent folders and files, configured by the settings, and the mailbox check."""

    transport: MailTransport
    sent_folder: SentFolder
    files: FileStore
    check: MailboxCheck
    connections: Callable[[], PoolNumbers]
    is_of: IsOf
    token_expiries_s: Callable[[], dict[str, float]]


@asynccontextmanager
async def open_outside(
    settings: Settings,
    refresh_tokens: RefreshTokens,
    rotated: Callable[[], None],
    *,
    references: References | None = None,
    refreshed: Callable[[str], None] = lambda _: None,
    tracer: Tracer = NO_TRACING,
) -> AsyncIterator[Outside]:
    """Open everything that connects to hosts chosen by customers, behind one egress guard.

    `references` says whose variables and files may serve as secrets, overriding the settings. `rotated` is
    called when a refresh token was rotated; `refreshed` receives the outcome of every access token refresh.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    resolver = SystemResolver(shares=settings.shares)
    guard, relay_egress = EgressGuard(settings.egress, resolver), settings.relay_egress
    tls = client_context(tls_of(settings))
    with _naming("SENDAS_SEALING_KEYS_FILE"):
        keys = load_sealing_keys(settings.sealing_keys_file) if settings.sealing_keys_file else SealingKeys({})
    names = _name_server(settings)
    secrets = SecretStore(
        keys,
        secret_variables(os.environ),
        settings.secrets_dir,
        settings.secret_env_prefix,
        settings.reference_accounts if references is None else references.accounts,
    )
    # The settings are valid from here on, so everything opened is also closed.
    # Places limit connections per account; aiohttp's own queue would let one account's stalling server fill it.
    session = guarded_client_session(
        guard, tls, allow_http=settings.files_allow_http, max_connections=0, max_connections_per_host=0
    )
    keeper = RotationKeeper(refresh_tokens, keys, SystemClock(), holder=uuid4().hex, rotated=rotated)
    tokens = TokenSource(session, secrets, SystemClock(), keeper, random=random.random, refreshed=refreshed)
    credentials = SecretCredentials(secrets, tokens)
    dialer = GuardedDialer(guard, SMTP_PORTS)
    smtp = SmtpTransport(
        dialer,
        credentials,
        local_hostname=settings.local_hostname,
        tls=tls,
        relay_dialer=GuardedDialer(EgressGuard(relay_egress, resolver), SMTP_PORTS),
        limits=_pool_limits(settings),
        tracer=tracer,
    )
    imap = ImapSentFolder(GuardedDialer(guard, IMAP_PORTS), credentials, tls, ImapTimeouts(), SystemClock())
    outside = Outside(
        smtp if settings.allow_plaintext else EncryptedTransport(smtp),
        imap if settings.allow_plaintext else EncryptedSentFolder(imap),
        HttpFileStore(session),
        MailboxCheck(
            ServerProbes(guard, credentials, tls, settings.local_hostname, settings.allow_plaintext),
            names,
            DkimSignatures(),
            SystemClock(),
        ),
        lambda: smtp.numbers,
        tokens.is_of,
        tokens.expiries_s,
    )
    try:
        yield outside
    finally:
        await smtp.close()
        await imap.close()
        await tokens.close()
        await session.close()
        resolver.close()


def _pool_limits(settings: Settings) -> PoolLimits:
    usual = PoolLimits()
    return replace(usual, max_of_account=max(1, int(usual.max_connections * settings.account_share)))


def _name_server(settings: Settings) -> DnsLookups:
    try:
        return DnsLookups(settings.dns_server or None, settings.egress.internal_zones)
    except ValueError as error:
        raise ConfigurationError(f"SENDAS_DNS_SERVER: {error}") from None


@contextmanager
def _naming(setting: str) -> Iterator[None]:
    """Prefix errors with the name of the setting that caused them."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{setting}: {error}") from None


def snapshot_source(settings: Settings, attempts: int = 3) -> Source:
    """Create the source of configuration snapshots; needs a running event loop. `attempts` counts tries per HTTP fetch.

    The operator chose the host, which may be private; metadata services are refused all the same, whatever the name
    resolves to, and the connection goes to the vetted address.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    if settings.snapshot_url.startswith("file:"):
        return FileSource(Path(settings.snapshot_url.removeprefix("file://").removeprefix("file:")))
    guard = EgressGuard(replace(settings.egress, is_operators=True), SystemResolver(max_threads=2, is_absolute=False))
    connector = guarded_connector(guard, client_context(tls_of(settings)), frozenset())
    return HttpSource(settings.snapshot_url, token=settings.snapshot_token, connector=connector, attempts=attempts)


def delivery_rules(settings: Settings) -> Rules:
    """The delivery's rules, from the settings."""
    return Rules(
        topology=settings.topology,
        source=settings.source,
        limits=Limits(
            max_age_s=settings.max_age_s,
            relay_connections=settings.relay_connections,
            mailbox_connections=settings.mailbox_connections,
            mailbox_per_minute=settings.mailbox_per_minute,
            mailbox_per_day=settings.mailbox_per_day,
            recipient_limit=settings.recipient_limit,
            mailbox_ramp_up_s=settings.mailbox_ramp_up_s,
            concurrency=settings.concurrency,
            mailbox_connections_max=settings.mailbox_connections_max,
            files_concurrency=settings.files_concurrency,
            files_timeout_s=settings.files_timeout_s,
            shares=settings.shares,
        ),
        copy_limits=CopyLimits(
            max_age_s=settings.copy_max_age_s,
            max_bytes=settings.max_message_bytes,
            in_hand=IN_HAND_FACTOR * settings.copy_concurrency,
        ),
        uncertain_policy=settings.uncertain_policy,
        unknown_sender_wait_s=settings.unknown_sender_wait_s,
    )


def token_telling(
    settings: Settings, tokens: RefreshTokens, outside: Outside, snapshot: SnapshotService, publish: Publish
) -> TokenRotationNotifier:
    """Create what notifies the product of rotated refresh tokens."""
    reporter = Reporter(settings.source, settings.topology.results_exchange)
    return TokenRotationNotifier(
        tokens=tokens, snapshot=snapshot, is_of=outside.is_of, reporter=reporter, publish=publish
    )


class _LedgerMetrics:
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def committed(self, operations: int, seconds: float) -> None:
        self._metrics.ledger_batch.observe(operations)
        self._metrics.ledger_commit.observe(seconds)


async def open_ledger_patiently(settings: Settings, ledger: LedgerAddress, metrics: Metrics) -> SqlLedger:
    """Open the ledger, waiting and logging while the database is unavailable.

    Raises:
        ConfigurationError: credentials, certificates or the schema are wrong.
    """
    make_state_dir(settings)
    options = LedgerOptions(lease_s=settings.ledger_lease_s, retention_s=settings.ledger_retention_days * 86_400)
    owner = f"{socket.gethostname()}/{os.getpid()}"
    while True:
        try:
            return await open_ledger(ledger, owner, SystemClock(), options, _LedgerMetrics(metrics))
        except Unavailable as error:
            log.warning("ledger.waiting", error=str(error), wait_s=_LEDGER_RETRY_S)
            await asyncio.sleep(_LEDGER_RETRY_S)


def make_state_dir(settings: Settings) -> None:
    """Create the state directory. Raises `ConfigurationError`."""
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"SENDAS_STATE_DIR: {settings.state_dir}: {error.strerror}") from None

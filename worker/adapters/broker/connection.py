"""A connection to the broker that reopens whenever it is lost.

aio-pika's robust connection is not used: with it a refused declaration reconnects for ever, and consumers and channels
are restored on their own terms. Here everything above a connection is rebuilt with it.
"""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import TracebackType

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import (
    CONNECTION_EXCEPTIONS,
    AuthenticationError,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    wait_random_exponential,
)
from yarl import URL

from worker.adapters.addresses.broker import Broker, broker_address
from worker.adapters.broker import header_decoding
from worker.adapters.network.tls import TlsExpected, tls_refusal
from worker.errors import ConfigurationError

log = structlog.get_logger(__name__)

header_decoding.install()  # before the first connection, whatever opens it

_CONNECT_TIMEOUT_S = 10.0
_LONGEST_WAIT_S = 15.0

BROKER_ERRORS = (*CONNECTION_EXCEPTIONS, asyncio.TimeoutError)
_SIGN_IN_ERRORS = (AuthenticationError, ProbableAuthenticationError)
# The reply for a missing virtual host arrives as an unexpected frame. A broker that is still starting sends the same
# for a virtual host that it will have, so only repeated replies count.
_VHOST_ERRORS = (InvalidFrameError,)
_VHOST_TRIES = 5


class broker_call:  # noqa: N801 - reads as a verb: `with broker_call():`
    """Normalises the failures of a call to aiormq: one of `BROKER_ERRORS`, or `CancelledError`.

    When a channel or connection closes, aiormq rejects pending calls with the close reason. Without one it raises plain
    `Exception`; after a missed heartbeat, `CancelledError`, although nothing cancelled the task. Both become
    `ConnectionError` here. When a close coincides with a cancellation, aiormq raises an error instead of
    `CancelledError`, or nothing at all (`close` suppresses every exception): a task that continued would never end, and
    neither would the worker. So the cancellation is raised again.
    """

    __slots__ = ("_cancellations",)

    def __enter__(self) -> None:
        self._cancellations = _cancellations()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if _cancellations() > self._cancellations:
            if not isinstance(error, asyncio.CancelledError):
                raise asyncio.CancelledError from error
        elif isinstance(error, asyncio.CancelledError) or type(error) is Exception:
            raise ConnectionError("the connection to the broker ended") from error


def _cancellations() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


class ChannelCalls:
    """Calls on one channel that end by timeout, or at once when the channel closes.

    A call that hands aiormq a frame waits while the writer's queue is full, and a writer that ends with its connection
    never wakes it.
    """

    def __init__(self, channel: AbstractChannel, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._running: set[asyncio.Timeout] = set()
        channel.close_callbacks.add(self._end)

    @asynccontextmanager
    async def bounded(self) -> AsyncIterator[None]:
        """Raises `TimeoutError`, one of `BROKER_ERRORS`, when the call ends this way."""
        async with asyncio.timeout(self._timeout_s) as running:
            self._running.add(running)
            try:
                yield
            finally:
                self._running.discard(running)

    def _end(self, *_: object) -> None:
        now_s = asyncio.get_running_loop().time()
        for running in self._running:
            if not running.expired():
                running.reschedule(now_s)


class _Connection(aio_pika.Connection):
    """Closes itself if opening fails; otherwise its finaliser would start a task that does, at some later moment."""

    async def connect(self, timeout: float | int | None = None) -> None:
        try:
            await super().connect(timeout)
        except BaseException:  # also cancellation
            await self.close()
            raise


async def connect(broker: Broker, name: str) -> AbstractConnection:
    """Open one connection, in a single attempt.

    Raises:
        ConfigurationError: the address is wrong.
        TlsExpected: the broker speaks TLS, and the URL asks for none.
        Exception: one of `BROKER_ERRORS`.
    """
    address = broker_address(broker)
    connection: AbstractConnection | None = None
    try:
        with broker_call():
            connection = await aio_pika.connect(
                address.url,
                ssl_context=await address.context(),
                timeout=_CONNECT_TIMEOUT_S,
                client_properties={"connection_name": name},
                connection_class=_Connection,
            )
        return connection  # noqa: RET504 - the name is needed where the task was cancelled
    except asyncio.CancelledError:
        if connection is not None:  # opened although this task was cancelled meanwhile
            await close_quietly(connection)
        raise
    except ConnectionError as error:
        is_plain = address.url.scheme == "amqp" and not isinstance(error, _SIGN_IN_ERRORS)
        if is_plain and await _speaks_tls(address.url):
            raise TlsExpected from error
        raise


async def _speaks_tls(url: URL) -> bool:
    """Whether the server answers a TLS handshake: such a server hangs up on a plain-text greeting without a reason."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts no authority, so the handshake with a TLS server fails
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection(url.host, url.port or 5672, ssl=context)
    except ssl.SSLCertVerificationError:
        return True
    except OSError:  # also a timeout
        return False
    writer.close()
    return True


async def connect_patiently(broker: Broker, name: str) -> AbstractConnection:
    """Open one connection; waits for a broker that is not up yet, and logs that.

    Raises:
        ConfigurationError: the address is wrong; or the broker is up and refuses the user name, password or virtual
            host, or one side refuses the other's certificate.
    """
    address = broker_address(broker)

    def say(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        wait_s = round(state.upcoming_sleep, 1)
        log.warning(
            "broker.waiting", broker=address.place, attempt=state.attempt_number, wait_s=wait_s, error=_words(error)
        )

    retrying = AsyncRetrying(
        retry=retry_if_exception(_may_pass),
        wait=wait_random_exponential(multiplier=0.5, max=_LONGEST_WAIT_S),
        stop=_is_hopeless,
        before_sleep=say,
        reraise=True,
    )
    try:
        return await retrying(connect, address, name)
    except (*_SIGN_IN_ERRORS, *_VHOST_ERRORS):
        raise ConfigurationError(
            f"SENDAS_BROKER_URL: the broker at {address.place} refuses this user name, password or virtual host"
        ) from None
    except BROKER_ERRORS as error:
        raise ConfigurationError(f"SENDAS_BROKER_URL: the broker at {address.place}: {tls_refusal(error)}") from None


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, BROKER_ERRORS) and not isinstance(error, _SIGN_IN_ERRORS) and tls_refusal(error) is None


def _is_hopeless(state: RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    return isinstance(error, _VHOST_ERRORS) and state.attempt_number >= _VHOST_TRIES


class ReconnectingConnection:
    """Keeps one connection open: `on_up` sets up everything on it, and runs again after each loss."""

    def __init__(self, broker: Broker, name: str, on_up: Callable[[AbstractConnection], Awaitable[None]]) -> None:
        self._address = broker_address(broker)
        self._name = name
        self._on_up = on_up
        self._lost = asyncio.Event()
        self._was_connected = False

    def reset(self) -> None:
        """Rebuild everything on a new connection, because something on this one is broken."""
        self._lost.set()

    async def run(self) -> None:
        """Run until cancelled.

        Raises:
            ConfigurationError: the first connection is refused. Later refusals count as an outage.
        """
        while True:
            connection = await self._connected()
            try:
                await self._hold(connection)
            except BROKER_ERRORS as error:
                log.warning("broker.setup_failed", connection=self._name, error=_words(error))
            finally:
                await close_quietly(connection)
            # Many workers lose a broker at the same moment; they must not all reconnect at the same moment.
            await asyncio.sleep(random.uniform(0.1, 1.0))  # noqa: S311 - spreads load, decides nothing

    async def _connected(self) -> AbstractConnection:
        while True:
            try:
                connection = await connect_patiently(self._address, self._name)
            except ConfigurationError as error:
                if not self._was_connected:
                    raise
                log.error("broker.refused", error=str(error))
                await asyncio.sleep(_LONGEST_WAIT_S)
            else:
                self._was_connected = True
                return connection

    async def _hold(self, connection: AbstractConnection) -> None:
        """Set up the connection, and return when it is lost."""
        self._lost.clear()

        def closed(_: object, error: BaseException | None) -> None:
            log.warning("broker.connection_lost", connection=self._name, error=_words(error))
            self._lost.set()

        connection.close_callbacks.add(closed)
        try:
            with broker_call():
                await self._on_up(connection)
            log.info("broker.connected", connection=self._name, broker=self._address.place)
            await self._lost.wait()
        finally:
            connection.close_callbacks.discard(closed)


async def close_quietly(connection: AbstractConnection) -> None:
    """Close a connection that may already be broken."""
    try:
        with broker_call():
            await asyncio.wait_for(connection.close(), timeout=5)
    except BROKER_ERRORS:
        log.debug("broker.close_failed")


def _words(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}"[:300] if error is not None else "closed"

"""A connection to the broker that is opened again whenever it is lost.

aio-pika's robust connection is not used: with it a declaration that the broker refuses reconnects for ever, and
consumers and channels come back on their own terms. Here everything above a connection is built anew with it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

import aio_pika
import structlog
from aio_pika.abc import AbstractConnection
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

from worker.adapters.addresses.broker import Broker, broker_address
from worker.adapters.broker import header_decoding
from worker.adapters.broker.tap import TappedConnection
from worker.adapters.tls import tls_refusal
from worker.errors import ConfigurationError

log = structlog.get_logger(__name__)

header_decoding.install()  # before the first connection, whoever opens it

_CONNECT_TIMEOUT_S = 10.0
_LONGEST_WAIT_S = 15.0

BROKER_ERRORS = (*CONNECTION_EXCEPTIONS, asyncio.TimeoutError)
_SIGN_IN_ERRORS = (AuthenticationError, ProbableAuthenticationError)
# What a broker says to a virtual host that it does not have comes as an unexpected frame; one that is still starting
# says the same of a virtual host that it will have, so this is believed only after some tries.
_VHOST_ERRORS = (InvalidFrameError,)
_VHOST_TRIES = 5


def end_if_cancelled(error: BaseException | None = None) -> None:
    """Go on with the task's cancellation, should the call that just ended have swallowed it.

    When a channel or connection closes in the moment of a cancellation, aiormq raises an error of its own in the
    place of `CancelledError`, or none at all (its `close` suppresses every exception). Whatever stays after such a
    call asks here, or it would never end, and the worker with it.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error


async def connect(broker: Broker, name: str) -> TappedConnection:
    """One connection, at the first try.

    Raises:
        ConfigurationError: the address is wrong.
        Exception: one of `BROKER_ERRORS`.
    """
    address = broker_address(broker)
    return await aio_pika.connect(
        address.url,
        ssl_context=await address.context(),
        timeout=_CONNECT_TIMEOUT_S,
        client_properties={"connection_name": name},
        connection_class=TappedConnection,
    )


async def connect_patiently(broker: Broker, name: str) -> TappedConnection:
    """One connection, waiting for a broker that is not there yet, and saying so.

    Raises:
        ConfigurationError: the address is wrong; or the broker is there and refuses the user name, password or virtual
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
    """Keeps one connection up: `on_up` builds what lives on it, and is called again after each loss."""

    def __init__(self, broker: Broker, name: str, on_up: Callable[[TappedConnection], Awaitable[None]]) -> None:
        self._address = broker_address(broker)
        self._name = name
        self._on_up = on_up
        self._lost = asyncio.Event()
        self._was_connected = False

    def reset(self) -> None:
        """Say that what was built on the connection is broken: everything is built again on a new one."""
        self._lost.set()

    async def run(self) -> None:
        """Run until cancelled.

        Raises:
            ConfigurationError: the first connection is refused. Later that is an outage as any other.
        """
        while True:
            connection = await self._connected()
            try:
                await self._stay(connection)
            except Exception as error:
                if not _is_of_the_broker(error):
                    raise
                end_if_cancelled(error)
                log.warning("broker.setup_failed", connection=self._name, error=_words(error))
            finally:
                await close_quietly(connection)
            # Many workers lose a broker at the same moment; they must not all come back at the same moment.
            await asyncio.sleep(random.uniform(0.1, 1.0))  # noqa: S311 - spreads load, decides nothing

    async def _connected(self) -> TappedConnection:
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

    async def _stay(self, connection: TappedConnection) -> None:
        self._lost.clear()

        def closed(_: object, error: BaseException | None) -> None:
            log.warning("broker.connection_lost", connection=self._name, error=_words(error))
            self._lost.set()

        connection.close_callbacks.add(closed)
        try:
            await self._on_up(connection)
            end_if_cancelled()
            log.info("broker.connected", connection=self._name, broker=self._address.place)
            await self._lost.wait()
        finally:
            connection.close_callbacks.discard(closed)


def _is_of_the_broker(error: Exception) -> bool:
    """Whether connecting anew may help. Where aiormq knows no reason for an end it raises `Exception` itself."""
    return isinstance(error, BROKER_ERRORS) or type(error) is Exception


async def close_quietly(connection: AbstractConnection) -> None:
    """Close a connection that may be broken already."""
    try:
        await asyncio.wait_for(connection.close(), timeout=5)
    except BROKER_ERRORS as error:
        end_if_cancelled(error)
        log.debug("broker.close_failed")


def _words(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}"[:300] if error is not None else "closed"

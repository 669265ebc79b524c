"""Declares and checks the topology, on separate connections: a refusal closes the channel it happens on."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import structlog
from aio_pika import ExchangeType
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelClosed, ChannelNotFoundEntity, ChannelPreconditionFailed
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from worker.adapters.addresses.broker import Broker
from worker.adapters.broker.connection import BROKER_ERRORS, broker_call, close_quietly, connect_patiently
from worker.domain.topology import BindingSpec, QueueSpec, Topology
from worker.errors import ConfigurationError

T = TypeVar("T")

log = structlog.get_logger(__name__)

_LONGEST_WAIT_S = 15.0


@asynccontextmanager
async def _connection(broker: Broker) -> AsyncIterator[AbstractConnection]:
    connection = await connect_patiently(broker, "sendas-topology")
    try:
        yield connection
    finally:
        await close_quietly(connection)


async def apply_topology(broker: Broker, topology: Topology) -> None:
    """Declare exchanges, queues and bindings; existing ones stay unchanged, except bindings of a disabled history.
    Waits for an unavailable broker.

    Raises:
        ConfigurationError: an object of the same name exists with other arguments.
    """
    await _patiently(_apply, broker, topology)


async def _apply(broker: Broker, topology: Topology) -> None:
    async with _connection(broker) as connection:
        for exchange in (topology.events_exchange, topology.results_exchange):
            await _on_channel(connection, f"exchange {exchange}", partial(_declare_exchange, exchange))
        for queue in topology.queues():
            await _on_channel(connection, f"queue {queue.name}", partial(_declare_queue, queue))
        for binding in topology.bindings():
            what = f"binding of queue {binding.queue} to exchange {binding.exchange}"
            await _on_channel(connection, what, partial(_bind, binding))
        for binding in topology.unwanted_bindings():
            what = f"binding of queue {binding.queue} to exchange {binding.exchange}"
            await _on_channel(connection, what, partial(_unbind, binding))


async def check_topology(broker: Broker, topology: Topology) -> None:
    """Check that everything exists as this version would declare it; creates nothing. Waits for an unavailable broker.

    Raises:
        ConfigurationError: something is missing or has other arguments.
    """
    await _patiently(_check, broker, topology)


async def _patiently(step: Callable[[Broker, Topology], Awaitable[None]], broker: Broker, topology: Topology) -> None:
    """Retry when the connection ends: a broker that has just started may answer a declaration by closing it."""
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(BROKER_ERRORS),
        wait=wait_random_exponential(multiplier=0.5, max=_LONGEST_WAIT_S),
        before_sleep=_say,
        reraise=True,
    )
    await retrying(step, broker, topology)


async def _check(broker: Broker, topology: Topology) -> None:
    async with _connection(broker) as connection:
        for exchange in (topology.events_exchange, topology.results_exchange):
            await _on_channel(connection, f"exchange {exchange}", partial(_find_exchange, exchange))
        for queue in topology.queues():
            await _on_channel(connection, f"queue {queue.name}", partial(_find_queue, queue))


async def _on_channel(
    connection: AbstractConnection, what: str, step: Callable[[AbstractChannel], Awaitable[object]]
) -> None:
    try:
        with broker_call():
            async with connection.channel() as channel:
                await step(channel)
    except ChannelNotFoundEntity:
        raise ConfigurationError(f"{what} does not exist: run `sendas topology apply`") from None
    except ChannelPreconditionFailed as error:
        raise ConfigurationError(f"{what} is there with other properties: {_words(error)}") from None
    except ChannelClosed as error:
        raise ConfigurationError(f"{what}: {_words(error)}") from None


async def _declare_exchange(name: str, channel: AbstractChannel) -> None:
    await channel.declare_exchange(name, ExchangeType.TOPIC, durable=True)


async def _find_exchange(name: str, channel: AbstractChannel) -> None:
    await channel.declare_exchange(name, ExchangeType.TOPIC, durable=True, passive=True)


async def _declare_queue(queue: QueueSpec, channel: AbstractChannel) -> None:
    await channel.declare_queue(queue.name, durable=True, arguments=dict(queue.arguments))


async def _bind(binding: BindingSpec, channel: AbstractChannel) -> None:
    queue = await channel.get_queue(binding.queue, ensure=False)
    await queue.bind(binding.exchange, binding.routing_key)


async def _unbind(binding: BindingSpec, channel: AbstractChannel) -> None:
    queue = await channel.get_queue(binding.queue, ensure=False)
    await queue.unbind(binding.exchange, binding.routing_key)  # harmless if it is not bound


async def _find_queue(queue: QueueSpec, channel: AbstractChannel) -> None:
    await channel.declare_queue(queue.name, passive=True)
    await _declare_queue(queue, channel)  # the queue exists, so this only compares the arguments


def _say(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning("topology.interrupted", attempt=state.attempt_number, error=type(error).__name__)


def _words(error: ChannelClosed) -> str:
    return str(error.args[-1] if error.args else error)[:300]

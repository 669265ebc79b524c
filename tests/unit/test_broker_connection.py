"""What a connection to the broker and the check of its topology do when the broker goes away in the middle."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiormq.exceptions import AMQPConnectionError, ChannelAccessRefused, ConnectionInternalError

from worker.adapters.broker import connection, topology
from worker.adapters.broker.connection import ReconnectingConnection
from worker.domain.topology import Topology
from worker.errors import ConfigurationError


class FakeConnection:
    """A connection on which nothing is ever said."""

    def __init__(self) -> None:
        self.close_callbacks: set[object] = set()
        self.is_closed = False

    async def close(self) -> None:
        """Close it."""
        self.is_closed = True


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[FakeConnection]:
    """The connections that were opened."""
    opened: list[FakeConnection] = []

    async def connect(*_: object) -> Any:
        opened.append(FakeConnection())
        return opened[-1]

    monkeypatch.setattr(connection, "connect_patiently", connect)
    monkeypatch.setattr("random.uniform", lambda *_: 0.0)
    return opened


@pytest.mark.parametrize("error", [Exception(), AMQPConnectionError("gone"), ConnectionResetError()])
async def test_whatever_word_the_library_has_for_an_end_a_new_connection_is_opened(
    opened: list[FakeConnection], error: Exception
) -> None:
    """If aiormq ends a call with `Exception` itself, as it does where it knows no reason, then the worker goes on."""
    is_up = asyncio.Event()

    async def up(_: object) -> None:
        if len(opened) == 1:
            raise error
        is_up.set()

    task = asyncio.create_task(ReconnectingConnection("amqp://localhost/", "test", up).run())
    await asyncio.wait_for(is_up.wait(), 10)
    assert opened[0].is_closed
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert opened[1].is_closed


async def test_a_mistake_of_ours_ends_the_connection(opened: list[FakeConnection]) -> None:
    """If what is built on a connection fails for a reason of its own, then trying again would hide it."""

    async def up(_: object) -> None:
        raise LookupError("a mistake of ours")

    with pytest.raises(LookupError):
        await ReconnectingConnection("amqp://localhost/", "test", up).run()
    assert opened[0].is_closed


async def test_a_cancellation_that_the_library_took_for_an_end_of_the_connection_counts(
    opened: list[FakeConnection],
) -> None:
    """If a call raises an error of the connection in the place of its cancellation, then it ends all the same."""
    is_in_call = asyncio.Event()

    async def up(_: object) -> None:
        is_in_call.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise AMQPConnectionError("gone") from None

    task = asyncio.create_task(ReconnectingConnection("amqp://localhost/", "test", up).run())
    await is_in_call.wait()
    task.cancel()
    await asyncio.wait({task}, timeout=10)
    assert task.cancelled()
    assert len(opened) == 1


@pytest.mark.parametrize("error", [AMQPConnectionError("gone"), ConnectionInternalError("INTERNAL_ERROR")])
@pytest.mark.parametrize("step", [topology.check_topology, topology.apply_topology])
async def test_a_topology_is_gone_through_again_when_the_broker_ends_the_connection_in_the_middle(
    step: Callable[[str, Topology], Awaitable[None]], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a node is lost while a worker starts, or has only just started, then the worker waits for the next one."""
    looks: list[str] = []

    async def find(name: str, _: object) -> None:
        looks.append(name)
        if len(looks) == 1:
            raise error

    async def connect(*_: object) -> Any:
        return FakeCluster()

    monkeypatch.setattr(topology, "connect_patiently", connect)
    for kind in ("find", "declare"):
        monkeypatch.setattr(topology, f"_{kind}_exchange", find)
        monkeypatch.setattr(topology, f"_{kind}_queue", lambda *_: asyncio.sleep(0))
    names = Topology()
    await step("amqp://localhost/", names)
    assert looks == [names.events_exchange, names.events_exchange, names.results_exchange]


async def test_a_binding_that_is_refused_is_told_of_and_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the user may not bind, then nobody waits for a broker that will never allow it."""

    async def refused(*_: object) -> None:
        raise ChannelAccessRefused("ACCESS_REFUSED - write access refused")

    async def connect(*_: object) -> Any:
        return FakeCluster()

    monkeypatch.setattr(topology, "connect_patiently", connect)
    for kind in ("exchange", "queue"):
        monkeypatch.setattr(topology, f"_declare_{kind}", lambda *_: asyncio.sleep(0))
    monkeypatch.setattr(topology, "_bind", refused)
    with pytest.raises(ConfigurationError, match=r"binding of queue sendas\.outbound to .*ACCESS_REFUSED"):
        async with asyncio.timeout(10):
            await topology.apply_topology("amqp://localhost/", Topology())


class FakeCluster(FakeConnection):
    """A connection with channels."""

    def channel(self) -> "FakeCluster":
        """A channel."""
        return self

    async def get_queue(self, *_: object, **__: object) -> "FakeCluster":
        """A queue."""
        return self

    async def bind(self, *_: object) -> None:
        """Only noted."""

    async def __aenter__(self) -> "FakeCluster":
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is to be closed."""


async def test_a_first_connection_that_is_refused_ends_the_connection_and_a_later_one_is_an_outage(
    opened: list[FakeConnection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a certificate is refused at the start, then somebody has to mend it; later, the worker waits for that."""
    refusals: list[ConfigurationError] = []
    connect = connection.connect_patiently

    async def refusing(*arguments: Any) -> Any:
        if len(opened) == len(refusals):
            refusals.append(ConfigurationError("the certificate has expired"))
            raise refusals[-1]
        return await connect(*arguments)

    monkeypatch.setattr(connection, "connect_patiently", refusing)
    monkeypatch.setattr(connection, "_LONGEST_WAIT_S", 0.0)
    is_up = asyncio.Event()

    async def up(_: object) -> None:
        if len(opened) == 1:
            raise AMQPConnectionError("gone")
        is_up.set()

    made = ReconnectingConnection("amqp://localhost/", "test", up)
    with pytest.raises(ConfigurationError, match="expired"):
        await made.run()
    task = asyncio.create_task(made.run())
    await asyncio.wait_for(is_up.wait(), 10)
    assert len(refusals) == 2
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

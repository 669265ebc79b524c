"""What a connection to the broker and the check of its topology do when the broker goes away in the middle."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiormq.exceptions import AMQPConnectionError, ChannelAccessRefused, ConnectionInternalError

from stack.authority import Authority
from worker.adapters.broker import connection, topology
from worker.adapters.broker.connection import ReconnectingConnection, broker_call
from worker.adapters.network.tls import TlsExpected, tls_refusal
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

    async def unbind(self, *_: object) -> None:
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


async def test_what_the_library_raises_for_an_end_of_the_connection_is_one_of_the_brokers_errors() -> None:
    """If a heartbeat is missed, then aiormq rejects what waits with `CancelledError`, and no task may end of that."""
    for error in (asyncio.CancelledError(), Exception()):
        with pytest.raises(ConnectionError), broker_call():
            raise error
    for kept in (AMQPConnectionError("gone"), LookupError("a mistake of ours")):
        with pytest.raises(type(kept)) as caught, broker_call():
            raise kept
        assert caught.value is kept


@pytest.mark.parametrize("error", [None, AMQPConnectionError("gone"), Exception()])
async def test_a_cancellation_that_the_library_swallowed_is_raised_again(error: Exception | None) -> None:
    is_in_call = asyncio.Event()

    async def call() -> None:
        with broker_call():
            is_in_call.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if error is not None:
                    raise error from None

    task = asyncio.create_task(call())
    await is_in_call.wait()
    task.cancel()
    await asyncio.wait({task}, timeout=10)
    assert task.cancelled()


async def test_a_task_that_goes_on_after_its_cancellation_can_still_call_the_broker() -> None:
    """If a letter was handed over in the last moment, then its result is published although its task was cancelled."""
    is_waiting = asyncio.Event()

    async def finish() -> str:
        try:
            is_waiting.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            with broker_call():
                await asyncio.sleep(0)
        return "published"

    task = asyncio.create_task(finish())
    await is_waiting.wait()
    task.cancel()
    assert await task == "published"


@pytest.mark.parametrize("answer", [b"", b"\x01\x00\x00\x00\x00\x00\xff", b"\x01\x00\x00\x00\x02\x00\x00\x00\x00"])
async def test_a_server_that_hangs_up_is_no_server_that_speaks_tls(answer: bytes) -> None:
    """If a proxy or a broker that ends cuts the first frame off, then that is an outage."""
    async with answering(answer) as url:
        with pytest.raises(AMQPConnectionError) as caught:
            await connection.connect(url, "test")
    assert tls_refusal(caught.value) is None


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """A server that answers the greeting with this, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"amqp://u:p@127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def test_tls_that_is_refused_or_not_asked_for_is_named(tmp_path: Path) -> None:
    """If the broker's port speaks TLS, then a worker with a plain URL does not wait for it for ever."""
    certificate = Authority(tmp_path).issue("broker")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.chain, certificate.key)

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        place = f"u:p@localhost:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(TlsExpected):
            await connection.connect(f"amqp://{place}", "test")
        with pytest.raises(ConnectionError) as caught:
            await connection.connect(f"amqps://{place}", "test")
    assert "the server's certificate is not accepted" in str(tls_refusal(caught.value))

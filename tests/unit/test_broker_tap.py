"""What is taken from a connection before the library reads it, and what is left to the library."""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiormq import AMQPConnectionError, spec
from aiormq.exceptions import ChannelInvalidStateError
from hypothesis import given
from hypothesis import strategies as st
from pamqp import frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat
from yarl import URL

from stack.authority import Authority
from worker.adapters.broker.confirms import Confirms, Fate
from worker.adapters.broker.deliveries import Delivered, Deliveries
from worker.adapters.broker.frames import HEAD
from worker.adapters.broker.tap import Listener, Tap, TappedProtocol

OURS, THEIRS = 3, 4
Frame = spec.Basic.Deliver | spec.Basic.Return | spec.Basic.Ack | spec.Basic.Nack | spec.Channel.Close


def message(
    method: Frame, channel: int, body: bytes, properties: spec.Basic.Properties | None = None, *, piece: int = 4
) -> list[bytes]:
    """The frames of a message."""
    content = ContentHeader(body_size=len(body), properties=properties)
    pieces = [ContentBody(body[at : at + piece]) for at in range(0, len(body), piece)]
    return [frame.marshal(each, channel) for each in (method, content, *pieces)]


def delivery(channel: int, tag: int, body: bytes, *, is_redelivered: bool = False) -> list[bytes]:
    method = spec.Basic.Deliver("ctag", tag, is_redelivered, "exchange", "key")
    return message(method, channel, body, spec.Basic.Properties(content_type="text/x", headers={"n": tag}))


def tapped(listeners: dict[int, Listener]) -> tuple[TappedProtocol, asyncio.StreamReader]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(loop=loop)
    return TappedProtocol(reader, listeners, loop), reader


async def left(reader: asyncio.StreamReader) -> bytes:
    """What the library gets to read."""
    reader.feed_eof()
    return await reader.read()


bodies = st.lists(st.tuples(st.sampled_from((OURS, THEIRS)), st.binary(max_size=20)), max_size=6)


@given(bodies, st.lists(st.integers(1, 60), min_size=1))
async def test_messages_are_taken_however_the_network_cuts_them(
    sent: Sequence[tuple[int, bytes]], cuts: Sequence[int]
) -> None:
    """If the bytes come in any pieces, then ours are complete and in order, and the library gets all the rest."""
    taken: list[Delivered] = []
    protocol, reader = tapped({OURS: Deliveries(taken.append)})
    frames = {number: delivery(channel, number, body) for number, (channel, body) in enumerate(sent, 1)}
    heartbeat = frame.marshal(Heartbeat(), 0)
    data = b"".join(each + heartbeat for frames_of_one in frames.values() for each in frames_of_one)
    at, turn = 0, 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        protocol.data_received(data[at : at + size])
        at, turn = at + size, turn + 1
    ours = [(number, body) for number, (channel, body) in enumerate(sent, 1) if channel == OURS]
    assert [(each.tag, each.body) for each in taken] == ours
    assert all(each.headers == {"n": each.tag} and each.content_type == "text/x" for each in taken)
    is_theirs = {number: channel == THEIRS for number, (channel, _) in enumerate(sent, 1)}
    rest = b"".join((each if is_theirs[n] else b"") + heartbeat for n, of_one in frames.items() for each in of_one)
    assert await left(reader) == rest


async def test_whether_a_message_was_delivered_before_is_read() -> None:
    taken: list[Delivered] = []
    protocol, _ = tapped({OURS: Deliveries(taken.append)})
    protocol.data_received(b"".join(delivery(OURS, 2**40, b"", is_redelivered=True)))
    assert [(each.tag, each.is_redelivered) for each in taken] == [(2**40, True)]


async def test_what_is_no_frame_is_left_to_the_library() -> None:
    """If a frame does not end as it should, then the library sees it, and says so."""
    protocol, reader = tapped({OURS: Deliveries(lambda _: None)})
    broken = HEAD.pack(1, OURS, 4) + spec.Basic.Deliver.index.to_bytes(4, "big") + b"\0"
    protocol.data_received(broken)
    assert await left(reader) == broken


async def test_what_ends_within_a_frame_is_left_to_the_library() -> None:
    """If a broker speaks another version, which it says in bytes that are no frame, then the library sees them."""
    protocol, reader = tapped({})
    protocol.data_received(b"AMQP\x00\x00\x09\x01")
    protocol.eof_received()
    assert await reader.read() == b"AMQP\x00\x00\x09\x01"


async def test_no_sign_of_life_is_given_before_a_frame_was_taken() -> None:
    """If a broker is slow to open the connection, then the library hears its answer and nothing else."""
    protocol, reader = tapped({OURS: Deliveries(lambda _: None)})
    now_s = asyncio.get_running_loop().time()
    protocol._monotonic = lambda: now_s + 5
    answer = frame.marshal(spec.Connection.OpenOk(), 0)
    protocol.data_received(answer[:5])
    protocol.data_received(answer[5:])
    assert await left(reader) == answer


@dataclass
class Contexts:
    """Where the library keeps its TLS context."""

    context: ssl.SSLContext

    async def get_context(self) -> ssl.SSLContext:
        return self.context


async def test_a_connection_under_tls_is_one_to_the_host_of_the_url(tmp_path: Path) -> None:
    """If the URL says `amqps`, then the certificate is checked, and what is written in one turn arrives as it was."""
    authority = Authority(tmp_path)
    certificate = authority.issue("broker")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.chain, certificate.key)
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.put_nowait(await reader.readexactly(6))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        url = URL.build(scheme="amqps", host="localhost", port=server.sockets[0].getsockname()[1])
        with pytest.raises(AMQPConnectionError):
            await Tap().create(url, ssl_context_provider=Contexts(ssl.create_default_context()))
        tap = Tap()
        _, writer = await tap.create(url, ssl_context_provider=Contexts(authority.client_context()))
        tap.write(b"one")
        tap.write(b"two")
        await tap.drain()
        assert await arrived.get() == b"onetwo"
        writer.close()


async def test_the_library_hears_that_a_peer_lives_whose_frames_are_all_taken() -> None:
    """If it heard nothing, then it would take a busy broker for dead."""
    protocol, reader = tapped({OURS: Deliveries(lambda _: None)})
    now_s = asyncio.get_running_loop().time()
    protocol._monotonic = lambda: now_s + 5
    protocol.data_received(b"".join(delivery(OURS, 1, b"letter")))
    protocol.data_received(b"".join(delivery(OURS, 2, b"letter")))
    assert await left(reader) == frame.marshal(Heartbeat(), 0)


def told(confirms: Confirms, *methods: Frame) -> None:
    for method in methods:
        data = frame.marshal(method, OURS)
        assert confirms.take(1, data[HEAD.size : -1])


@given(st.lists(st.tuples(st.integers(1, 8), st.booleans(), st.booleans()), max_size=8))
async def test_each_message_has_the_fate_that_the_broker_told_of_it(answers: list[tuple[int, bool, bool]]) -> None:
    """If answers are for one or for many, then each counts for those that had none yet, and for nobody else."""
    confirms = Confirms(60)
    fates = {tag: confirms.published(str(tag)) for tag in range(1, 9)}
    expected: dict[int, Fate] = {}
    for tag, is_multiple, is_good in answers:
        told(confirms, (spec.Basic.Ack if is_good else spec.Basic.Nack)(tag, is_multiple))
        for each in range(1 if is_multiple else tag, tag + 1):
            expected.setdefault(each, Fate.CONFIRMED if is_good else Fate.REFUSED)
    assert {tag: fate.result() for tag, fate in fates.items() if fate.done()} == expected
    confirms.lose()
    assert all(isinstance(fates[tag].exception(), ChannelInvalidStateError) for tag in set(fates) - set(expected))


async def test_a_returned_message_is_found_by_its_id() -> None:
    confirms = Confirms(60)
    fates = [confirms.published(name) for name in ("first", "second")]
    came_back = message(
        spec.Basic.Return(312, "NO_ROUTE", "exchange", "key"), OURS, b"body", spec.Basic.Properties(message_id="second")
    )
    for data in came_back:
        assert confirms.take(data[0], data[HEAD.size : -1])
    told(confirms, spec.Basic.Ack(2, True))
    assert [await fate for fate in fates] == [Fate.CONFIRMED, Fate.RETURNED]


async def test_a_channel_that_the_broker_closes_is_lost_at_once_and_the_library_answers() -> None:
    """If something were written after the library's answer, then the broker would close the connection."""
    confirms = Confirms(60)
    fate = confirms.published("one")
    close = frame.marshal(spec.Channel.Close(404, "NOT_FOUND", 60, 40), OURS)
    assert not confirms.take(1, close[HEAD.size : -1])
    with pytest.raises(ChannelInvalidStateError):
        await fate
    with pytest.raises(ChannelInvalidStateError):
        confirms.published("two")


async def test_who_is_not_answered_in_time_learns_that() -> None:
    confirms = Confirms(0)
    with pytest.raises(TimeoutError):
        await confirms.published("one")

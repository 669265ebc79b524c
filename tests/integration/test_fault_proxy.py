"""The faulty network: what it does to a connection, and what it leaves alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from stack.fault_proxy import Fault, FaultKind, FaultProxy


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1_000):
            writer.write(data)
        writer.write(b"END")
        await writer.drain()
    except OSError:
        pass
    finally:
        writer.transport.abort() if writer.is_closing() else writer.close()


@asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    """A server that says what it hears, and END when nothing more comes."""
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_without_a_fault_everything_passes_both_ways_and_so_does_the_end() -> None:
    async with echo_server() as port, FaultProxy(port) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"x" * 200_000)
        writer.write_eof()

        assert await reader.read(-1) == b"x" * 200_000 + b"END"
        writer.close()


@pytest.mark.parametrize("is_upstream", [True, False])
@pytest.mark.parametrize("kind", [FaultKind.CUT, FaultKind.RESET])
async def test_a_connection_is_cut_or_reset_after_so_many_bytes(kind: FaultKind, is_upstream: bool) -> None:
    seen: list[Fault] = []
    fault = Fault(kind, is_upstream, after_bytes=5)
    async with echo_server() as port, FaultProxy(port, draw=lambda: fault, happened=seen.append) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"0123456789")
        try:
            heard = await reader.read(-1)
        except ConnectionResetError:
            heard = b""

        assert len(heard) <= 5
        assert seen == [fault]
        writer.close()


async def test_a_half_closed_connection_says_nothing_more_one_way_and_goes_on_the_other() -> None:
    fault = Fault(FaultKind.HALF_CLOSE, is_upstream=True, after_bytes=4)
    async with echo_server() as port, FaultProxy(port, draw=lambda: fault) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"0123456789")

        assert await reader.read(-1) == b"0123END"
        writer.close()


async def test_a_stalled_connection_goes_on_and_has_lost_nothing() -> None:
    fault = Fault(FaultKind.STALL, is_upstream=True, after_bytes=4, seconds=0.01)
    async with echo_server() as port, FaultProxy(port, draw=lambda: fault) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"0123456789")
        writer.write_eof()

        assert await reader.read(-1) == b"0123456789END"
        writer.close()


async def test_of_several_targets_the_next_one_that_takes_connections_gets_them() -> None:
    async with echo_server() as gone:
        pass
    async with echo_server() as port, FaultProxy(gone, port) as proxy:
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            writer.write_eof()
            assert await reader.read(-1) == b"END"
            writer.close()


async def test_if_all_connections_are_reset_then_the_clients_learn_of_it() -> None:
    async with echo_server() as port, FaultProxy(port) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"x")
        await reader.readexactly(1)

        assert proxy.reset_all() == 1
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        writer.close()

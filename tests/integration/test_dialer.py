"""The guarded dialer with real sockets."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tests.doubles.resolver import TableResolver
from worker.adapters.network.egress import DialError, EgressGuard, GuardedDialer
from worker.domain.egress import SMTP_PORTS, EgressPolicy, parse_allowlist
from worker.domain.transmission import FailureKind


@contextmanager
def listener(host: str, port: int = 0) -> Iterator[socket.socket]:
    with closing(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)) as server:
        server.bind((host, port))
        server.listen(0)
        yield server


@contextmanager
def silent_listener(host: str, port: int = 0) -> Iterator[socket.socket]:
    """Its queue of one is full, so the kernel drops further attempts: a host behind a firewall that says nothing."""
    with listener(host, port) as server, closing(socket.socket()) as filler:
        filler.connect(server.getsockname())
        yield server


def dialer(resolver: TableResolver | None = None, allow: str = "127.0.0.0/8,::1") -> GuardedDialer:
    return GuardedDialer(EgressGuard(EgressPolicy(parse_allowlist(allow)), resolver or TableResolver()), SMTP_PORTS)


def resolver_for(*answers: list[str]) -> TableResolver:
    resolver = TableResolver()
    resolver.set("smtp.example", *answers)
    return resolver


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_connection_is_ready_for_a_loop_and_without_delay(host: str) -> None:
    with listener(host) as server, await dialer().dial(host, server.getsockname()[1], 5) as connection:
        assert not connection.getblocking()
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert connection.getpeername()[0] == host


async def test_a_name_that_changes_its_mind_is_connected_where_it_was_vetted() -> None:
    """Rebinding: 127.0.0.2 is allowed and answers first; 127.0.0.1 is what the attacker is after."""
    tested = dialer(resolver := resolver_for(["127.0.0.2"], ["127.0.0.1"]), allow="127.0.0.2")
    with listener("127.0.0.2") as good, listener("127.0.0.1", good.getsockname()[1]) as target:
        port = good.getsockname()[1]
        with await tested.dial("smtp.example", port, 5) as connection:
            assert connection.getpeername() == ("127.0.0.2", port)
        assert len(resolver.asked) == 1
        with pytest.raises(DialError) as caught:
            await tested.dial("smtp.example", port, 5)
        assert caught.value.fault is FailureKind.EGRESS
        target.setblocking(False)
        with pytest.raises(BlockingIOError):
            target.accept()


async def test_a_dead_address_costs_its_share_of_the_time_only() -> None:
    with silent_listener("127.0.0.1") as dead, listener("127.0.0.2", dead.getsockname()[1]) as alive:
        port = alive.getsockname()[1]
        tested = dialer(resolver_for(["127.0.0.1", "127.0.0.2"]))
        with await tested.dial("smtp.example", port, timeout_s=0.4) as connection:
            assert connection.getpeername()[0] == "127.0.0.2"


async def test_if_no_address_answers_it_is_a_timeout() -> None:
    with silent_listener("127.0.0.1") as dead, pytest.raises(DialError, match="no answer") as caught:
        await dialer().dial("127.0.0.1", dead.getsockname()[1], timeout_s=0.1)
    assert caught.value.fault is FailureKind.TIMEOUT


async def test_if_all_refuse_the_error_says_so_once() -> None:
    with listener("127.0.0.1") as closed:
        port = closed.getsockname()[1]
    with pytest.raises(DialError) as caught:
        await dialer(resolver_for(["127.0.0.1", "127.0.0.2"])).dial("smtp.example", port, 5)
    assert caught.value.fault is FailureKind.CONNECT
    assert str(caught.value) == f"cannot connect to smtp.example port {port}: connection refused"


async def test_if_the_caller_goes_the_socket_is_closed() -> None:
    """An unclosed socket would warn, and warnings are errors here."""
    with silent_listener("127.0.0.1") as dead:
        dialing = asyncio.create_task(dialer().dial("127.0.0.1", dead.getsockname()[1], 60))
        await asyncio.wait({dialing}, timeout=0.05)
        dialing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialing

"""Scenario (b): many mailboxes behind TLS and sign-in, 50 ms away, with two connections each.

First a letter for each mailbox, which opens its connection; then a backlog in some of them. What a connection can do is
ruled by round trips: the backlog's letters are held against what two connections per mailbox could do if nothing but
the counted round trips took time.
"""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from bench.arena import Arena
from bench.counting import last_number, watch
from bench.letters import account, event, mailbox
from bench.plan import Plan, Result, Say
from bench.workers import one_worker
from stack import Authority
from stack.ports import free_ports
from stack.probe import greets
from stack.process import Child

ROUND_TRIP_S = 0.05
CAP = 2
BUSY = 10
_BACKLOG = 60
_PEERS = Path(__file__).parent / "peers"


@asynccontextmanager
async def _far_server(
    arena: Arena, authority: Authority
) -> AsyncIterator[tuple[int, Callable[[], int], Callable[[], int]]]:
    """The port of a server that is far away, and how many letters it has, and how many round trips there were."""
    directory = arena.place("far")
    port, near_port = free_ports(2)
    certificate = authority.issue("sink")
    sink_argv = [str(_PEERS / "secure_sink.py"), str(near_port), str(certificate.chain), str(certificate.key)]
    proxy_argv = [str(_PEERS / "delaying_proxy.py"), str(port), str(near_port), str(ROUND_TRIP_S * 1_000)]
    sink_log, proxy_log = directory / "sink.log", directory / "proxy.log"
    sink = Child("secure sink", [sys.executable, *sink_argv], log=sink_log, cwd=_PEERS)
    proxy = Child("proxy", [sys.executable, *proxy_argv], log=proxy_log, cwd=_PEERS)
    try:
        await sink.start(lambda: greets(near_port, b""))
        await proxy.start(lambda: greets(port, b""))
        yield port, lambda: last_number(sink_log), lambda: last_number(proxy_log)
    finally:
        await proxy.stop()
        await sink.stop()


async def measure(arena: Arena, plan: Plan, say: Say) -> Result:
    """Letters a second of the backlog, and what cap and round trips allow."""
    authority = Authority(arena.place("tls"))
    async with _far_server(arena, authority) as (port, letters, round_trips):
        auth = {"method": "password", "username": "bench", "secret": {"env": "SENDAS_SECRET_BENCH"}}
        boxes = [mailbox(f"mb-{n}", port, security="tls", auth=auth) for n in range(plan.mailboxes)]
        environment = {
            "SENDAS_SECRET_BENCH": "secret",
            "SENDAS_SECRET_REFERENCE_ACCOUNTS": "bench",
            "SENDAS_TLS_CA_FILE": str(authority.ca_file),
        }
        async with one_worker(arena, [account("bench", boxes)], [port], **environment):
            opening = await _send(arena, plan.mailboxes, plan.mailboxes, letters)
            before, count = round_trips(), BUSY * _BACKLOG
            rate = await _send(arena, count, BUSY, letters)
            per_letter = (round_trips() - before) / count
    allowed = BUSY * CAP / (per_letter * ROUND_TRIP_S)
    say(f"  {plan.mailboxes} mailboxes: first letters {opening:.0f} a second, {per_letter:.2f} round trips a letter")
    say(f"  backlog {rate:.0f} a second of {allowed:.0f} that cap and round trips allow: {rate / allowed:.0%}")
    return {
        "rate": {"sendas": rate, "allowed by cap and round trips": allowed, "sendas, first letters": opening},
        "ratio": {"allowed by cap and round trips": rate / allowed},
        "round_trips_per_letter": per_letter,
    }


async def _send(arena: Arena, count: int, mailboxes: int, letters: Callable[[], int]) -> float:
    before, run = letters(), f"b{count}"

    def make(number: int, run: str) -> bytes:
        return event(number, run, mailbox_id=f"mb-{number % mailboxes}")

    def arrived() -> int:
        return letters() - before

    await arena.load(count, run, make)
    timeline = await watch(arrived, count)
    await arena.audit(count, run, arrived)
    return timeline.rate()

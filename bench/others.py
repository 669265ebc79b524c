"""The other contestants: what users would pick instead, and the limits that nobody can pass."""

import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import aio_pika

from bench.arena import TOPOLOGY, Arena
from bench.contest import Contestant
from bench.counting import last_number
from bench.letters import event
from bench.postfix_queue import PostfixQueue
from bench.processes import AtWork
from bench.tools import CELERY
from bench.workers import CONNECTIONS, PREFETCH
from stack import running
from stack.process import Child
from tools.npm import NODE

_PEERS = Path(__file__).parent / "peers"
_CELERY_QUEUE = "bench.celery"


def _environment(arena: Arena, queue: str) -> dict[str, str]:
    return {
        "BROKER_URL": arena.broker.amqp_url,
        "QUEUE": queue,
        "RESULTS": TOPOLOGY.results_exchange,
        "SMTP_PORT": str(arena.sink.port),
        "CONNECTIONS": str(CONNECTIONS),
        "PREFETCH": str(PREFETCH),
    }


@asynccontextmanager
async def _child(
    arena: Arena, name: str, argv: Sequence[str], environment: Mapping[str, str], cwd: Path = _PEERS
) -> AsyncIterator[tuple[Child, Path]]:
    """A process that lasts as long as the context, and the file of what it prints."""
    log = arena.place(name) / "log"
    child = Child(name, argv, log=log, cwd=cwd, env=environment)

    async def at_once() -> bool:
        return True

    await child.start(at_once)
    try:
        yield child, log
    finally:
        await child.stop()


@asynccontextmanager
async def _nodemailer(arena: Arena, count: int, run: str) -> AsyncIterator[AtWork]:  # noqa: ARG001 - the interface
    environment, arrived = _environment(arena, TOPOLOGY.outbound), arena.arrivals()
    async with _child(arena, "node", [str(NODE), "mailer.mjs"], environment, _PEERS / "node") as (child, _):
        yield AtWork(arrived, [child])


@asynccontextmanager
async def _celery(arena: Arena, count: int, run: str) -> AsyncIterator[AtWork]:  # noqa: ARG001 - the interface
    argv = [str(CELERY), "-A", "celery_mailer", "worker", "--pool", "prefork", "--concurrency", "2"]
    quiet = ["--loglevel", "WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    arrived = arena.arrivals()
    environment = {**_environment(arena, _CELERY_QUEUE), "C_FORCE_ROOT": "true"}
    async with _child(arena, "celery", [*argv, *quiet], environment) as (child, _):
        yield AtWork(arrived, [child])


async def _load_celery(arena: Arena, count: int, run: str) -> None:
    async with await aio_pika.connect(arena.broker.amqp_url) as connection:
        channel = await connection.channel()
        await channel.declare_queue(_CELERY_QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    await arena.publish((_CELERY_QUEUE, _task(number, run)) for number in range(count))


def _task(number: int, run: str) -> aio_pika.Message:
    """A task as Celery's protocol 2 writes it."""
    name = str(uuid4())
    body = json.dumps([[json.loads(event(number, run))], {}, {}], ensure_ascii=False).encode()
    headers: dict[str, aio_pika.abc.FieldValue] = {"lang": "py", "task": "send", "id": name, "root_id": name}
    return aio_pika.Message(
        body,
        headers=headers,
        content_type="application/json",
        content_encoding="utf-8",
        correlation_id=name,
        delivery_mode=2,
    )


@asynccontextmanager
async def _consume(arena: Arena, count: int, run: str) -> AsyncIterator[AtWork]:  # noqa: ARG001 - the interface
    program = str(_PEERS / "consumer.py")
    argv = [sys.executable, program, arena.broker.amqp_url, TOPOLOGY.outbound, str(PREFETCH), str(count)]
    async with _child(arena, "consumer", argv, {}) as (child, log):
        yield AtWork(lambda: last_number(log), [child])


@asynccontextmanager
async def _smtp_source(arena: Arena, count: int, run: str) -> AsyncIterator[AtWork]:  # noqa: ARG001 - the interface
    arrived = arena.arrivals()
    async with _source(arena, count, arena.sink.port) as child:
        yield AtWork(arrived, [child])


@asynccontextmanager
async def _source(arena: Arena, count: int, port: int) -> AsyncIterator[Child]:
    """Postfix's own load generator: letters of the same size over as many connections."""
    argv = ["smtp-source", "-d", "-s", str(CONNECTIONS), "-m", str(count), "-l", "9000"]
    addresses = ["-f", "ivan@bench.product.example", "-t", "client@example.net", f"127.0.0.1:{port}"]
    async with _child(arena, "smtp-source", [*argv, *addresses], {"PATH": "/usr/sbin:/usr/bin:/bin"}) as (child, _):
        yield child


@asynccontextmanager
async def _postfix(arena: Arena, count: int, run: str) -> AsyncIterator[AtWork]:  # noqa: ARG001 - the interface
    arrived = arena.arrivals()
    queue = PostfixQueue(arena.place("postfix"), arena.sink.port, CONNECTIONS)
    async with running(queue), _source(arena, count, queue.port):
        yield AtWork(arrived, [queue.child])


NODEMAILER = Contestant("nodemailer", 4_000, _nodemailer, lambda arena, count, run: arena.load(count, run))
CELERY_SMTPLIB = Contestant("celery", 3_000, _celery, _load_celery)
CONSUMER = Contestant(
    "consume and ack", 12_000, _consume, lambda arena, count, run: arena.load(count, run), has_results=False
)
POSTFIX = Contestant("postfix queue", 3_000, _postfix, has_results=False)
SMTP_SOURCE = Contestant("smtp-source", 40_000, _smtp_source, has_results=False)

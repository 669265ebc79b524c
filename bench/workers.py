"""This worker as a contestant: real `sendas run` processes with everything on."""

import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from bench.arena import Arena
from bench.contest import Contestant
from bench.letters import Json, snapshot
from bench.processes import AtWork, group_cpu_s
from stack import running
from stack.ports import free_ports
from stack.probe import greets
from stack.process import Child
from worker.adapters.ledger import migrate

CONNECTIONS = 16
PREFETCH = 64
_ROOT = Path(__file__).parents[1]
_READINESS = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def settings(arena: Arena, snapshot_path: Path, ledger_url: str, ports: Sequence[int]) -> dict[str, str]:
    """Settings for a worker in the arena, with mail servers at these ports; what is not here is as it comes."""
    return {
        "SENDAS_BROKER_URL": arena.broker.amqp_url,
        "SENDAS_SNAPSHOT_URL": f"file:{snapshot_path}",
        "SENDAS_LEDGER_URL": ledger_url,
        "SENDAS_EGRESS_ALLOW": "127.0.0.0/8:" + "+".join(map(str, ports)),
        "SENDAS_ALLOW_PLAINTEXT": "true",
        "SENDAS_RELAY_CONNECTIONS": str(CONNECTIONS),
        "SENDAS_CONCURRENCY": str(PREFETCH // 2),  # the worker prefetches twice as many
        "SENDAS_ACCOUNT_SHARE": "1",  # one account plays all customers
        "SENDAS_MAILBOX_SHARE": "1",
        "SENDAS_LOCAL_HOSTNAME": "bench.product.example",
        "SENDAS_LOG_FORMAT": "json",
    }


class WorkerProcess:
    """A `sendas run` process with a state directory of its own."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        directory.mkdir()
        [self.http_port] = free_ports(1)
        own = {
            "SENDAS_STATE_DIR": str(directory),
            "SENDAS_HTTP_PORT": str(self.http_port),
            "SENDAS_HTTP_HOST": "127.0.0.1",
            "PYTHONPATH": str(_ROOT),
            "HOME": os.environ.get("HOME", "/"),
            "MALLOC_MMAP_THRESHOLD_": "1048576",  # as in the image
        }
        self.log = directory / "worker.log"
        command = [sys.executable, "-m", "worker", "run"]
        self.child = Child("sendas run", command, log=self.log, cwd=_ROOT, env={**environment, **own})

    async def start(self) -> None:
        """Start, and return when it takes events."""
        await self.child.start(self.is_ready)

    async def is_ready(self) -> bool:
        """Whether it takes events, as its own probe says."""
        return await greets(self.http_port, b"HTTP/1.1 200", hello=_READINESS)

    def cpu_s(self) -> float:
        """Seconds of processor time until now, of all threads."""
        return group_cpu_s(self.child.pid) if self.child.pid is not None else 0.0

    def rss_mb(self, *, peak: bool = False) -> float:
        """Resident memory, now or at its peak."""
        name = "VmHWM:" if peak else "VmRSS:"
        [kilobytes] = [line.split()[1] for line in self._proc("status").splitlines() if line.startswith(name)]
        return int(kilobytes) / 1024

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self.child.pid}/{name}").read_text()

    async def stop(self) -> None:
        """SIGTERM, and time to finish what is in flight."""
        await self.child.stop(timeout_s=30)


async def ledger_url(arena: Arena, kind: str, directory: Path) -> str:
    """A new ledger's URL: `sqlite` or `postgresql`."""
    if kind == "sqlite":
        # Not beside the snapshot, whose directory is watched: each write to the ledger would wake the watcher.
        place = directory / "ledger"
        place.mkdir()
        return f"sqlite:///{place}/ledger.db"
    url = await arena.database.add_database()
    await migrate(url)
    return url


@asynccontextmanager
async def workers(arena: Arena, count: int, ledger: str) -> AsyncIterator[AtWork]:
    """So many processes over one ledger."""
    directory = arena.place("worker")
    path = directory / "snapshot.json"
    path.write_bytes(snapshot(arena.sink.port))
    environment = settings(arena, path, await ledger_url(arena, ledger, directory), [arena.sink.port])
    processes = [WorkerProcess(directory / str(number), environment) for number in range(count)]
    arrived = arena.arrivals()
    async with running(*processes):
        yield AtWork(arrived, [process.child for process in processes])


@asynccontextmanager
async def one_worker(
    arena: Arena, accounts: Sequence[Json], ports: Sequence[int] = (), **more: str
) -> AsyncIterator[WorkerProcess]:
    """One process over a SQLite ledger, with these accounts, further ports of mail servers, and further settings."""
    directory = arena.place("worker")
    path = directory / "snapshot.json"
    path.write_bytes(snapshot(arena.sink.port, accounts))
    ledger = await ledger_url(arena, "sqlite", directory)
    environment = settings(arena, path, ledger, [arena.sink.port, *ports])
    process = WorkerProcess(directory / "0", {**environment, **more})
    async with running(process):
        yield process


def this_worker(processes: int, ledger: str, letters: int) -> Contestant:
    """The worker as a contestant."""
    name = f"sendas {ledger} {processes}"
    return Contestant(
        name,
        letters,
        lambda arena, count, run: workers(arena, processes, ledger),  # noqa: ARG005 - the interface
        lambda arena, count, run: arena.load(count, run),
        ends_clean=True,
    )

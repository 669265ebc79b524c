"""Measures the configuration snapshot: `python -m bench.snapshot --accounts 100000`.

Prints how long a document takes to compile, for how long at most the event loop stood still meanwhile, what memory
the worker took, and how lookups slow down (or do not) as the snapshot grows.
"""

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from worker.adapters.snapshot.directory import CompiledDirectory, load_directory
from worker.adapters.snapshot.file_source import FileSource
from worker.adapters.snapshot.refresher import Refresh, SnapshotRefresher

_TICK_S = 0.001
_LOOKUPS = 2_000


class _SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def write_document(path: Path, accounts: int, version: int = 1, mailboxes: int = 3, employees: int = 5) -> None:
    """A document of made-up accounts; the same for the same arguments."""
    server = {"port": 587, "security": "starttls"}
    password = {"method": "password", "username": "relay", "secret": {"sealed": "A" * 96}}
    header = {
        "schema": "sendas.snapshot/v1",
        "version": version,
        "generated_at": "2026-11-23T09:00:00Z",
        "platform": {"relay": {"host": "relay.product.example", "auth": password, **server}},
    }
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(header)[:-1] + ', "accounts": [')
        for number in range(accounts):
            account = _account(number, mailboxes, employees)
            file.write((", " if number else "") + json.dumps(account, ensure_ascii=False))
        file.write("]}")


def _account(number: int, mailboxes: int, employees: int) -> dict[str, object]:
    name = f"a{number}"
    return {
        "id": name,
        "plan": "paid",
        "settings": {"plain_text_version": True},
        "employees": [
            {"id": f"e{i}", "name": f"Иван Петров {i}", "internal_address": f"e{i}@{name}.product.example"}
            for i in range(employees)
        ],
        "mailboxes": [_mailbox(name, i) for i in range(mailboxes)],
    }


def _mailbox(account: str, number: int) -> dict[str, object]:
    address = f"box{number}@{account}.example"
    auth = {"method": "password", "username": address, "secret": {"sealed": "B" * 96}}
    return {
        "id": f"{account}-m{number}",
        "owner": {"kind": "company"} if number == 0 else {"kind": "employee", "employee_id": f"e{number}"},
        "address": address,
        "display_name": f"ООО {account}",
        "signature_html": "<p>С уважением</p>",
        "smtp": {"host": f"smtp.{account}.example", "port": 465, "security": "tls", "auth": auth},
        "sent_copy": {"imap": {"host": f"imap.{account}.example", "port": 993, "security": "tls"}},
    }


async def _longest_stall(until: Callable[[], object]) -> str:
    """The longest time that the event loop did not turn, and the most that its own thread computed between two turns.

    The latter is what this program does to the loop; the former has in it what else the machine was busy with.
    """
    longest_s = busiest_s = 0.0
    last_s, last_busy_s = time.perf_counter(), time.thread_time()
    while not until():
        await asyncio.sleep(_TICK_S)
        now_s, busy_s = time.perf_counter(), time.thread_time()
        longest_s, busiest_s = max(longest_s, now_s - last_s - _TICK_S), max(busiest_s, busy_s - last_busy_s)
        last_s, last_busy_s = now_s, busy_s
    return f"{longest_s * 1000:.1f} ms, {busiest_s * 1000:.1f} ms of it computing in the loop's thread at most"


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def _size_mb(path: Path) -> float:
    return path.stat().st_size / 1e6


async def _measure_load(document: Path, state: Path, accounts: int) -> None:
    looks: list[Refresh] = []
    before_mb = _resident_mb()
    keeper = SnapshotRefresher(FileSource(document), state, _SystemClock(), looks.append)
    started_s = time.perf_counter()
    await keeper.start()
    stall = await _longest_stall(lambda: looks)
    print(
        f"load                   {time.perf_counter() - started_s:8.1f} s    ({looks[0].outcome}, {accounts} accounts)"
    )
    print(f"longest loop stall       {stall}")
    random = Random(1)
    for _ in range(20_000):
        keeper.directory.account(f"a{random.randrange(accounts)}")
    print(f"memory of the child    {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3:8.1f} MB")
    print(f"memory before          {before_mb:8.1f} MB")
    print(f"memory with a warm cache {_resident_mb():6.1f} MB")
    print(f"document, compiled     {_size_mb(document):8.1f} MB, {_size_mb(keeper.directory.path):.1f} MB")
    await keeper.close()

    again = SnapshotRefresher(FileSource(document), state, _SystemClock(), looks.append)
    started_s = time.perf_counter()
    starting = asyncio.create_task(again.start())
    stall = await _longest_stall(starting.done)
    print(f"ready after a restart  {time.perf_counter() - started_s:8.2f} s    (stall {stall})")
    await again.close()


def _lookup_us(directory: CompiledDirectory, accounts: int) -> tuple[float, float, float]:
    """Microseconds for an account not in the cache, for whether one is left out, and for one in the cache."""
    ids = [f"a{number}" for number in Random(2).sample(range(accounts), min(accounts, _LOOKUPS))]
    times_us = []
    for ask in (directory.is_left_out, directory.account):
        started_s = time.perf_counter()
        for account_id in ids:
            ask(account_id)
        times_us.append((time.perf_counter() - started_s) / len(ids) * 1e6)
    started_s = time.perf_counter()
    for _ in ids:
        directory.account(ids[-1])
    cached_us = (time.perf_counter() - started_s) / len(ids) * 1e6
    return times_us[1], times_us[0], cached_us


def _measure_lookups(directory: Path, sizes: list[int]) -> None:
    first_us = 0.0
    for accounts in sizes:
        document = directory / f"{accounts}.json"
        write_document(document, accounts)
        account_us, row_us, cached_us = _lookup_us(load_directory(document), accounts)
        first_us = first_us or row_us
        print(
            f"lookup among {accounts:>7}   {row_us:8.1f} us   ({row_us / first_us:.2f} times the first; "
            f"with validation {account_us:.0f} us, from the cache {cached_us:.2f} us)"
        )
        document.unlink()


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.snapshot", description=__doc__)
    parser.add_argument("--accounts", type=int, default=100_000, help="with three mailboxes each")
    accounts: int = parser.parse_args(arguments).accounts
    with tempfile.TemporaryDirectory(prefix="bench-snapshot-") as name:
        directory = Path(name)
        document = directory / "document" / "snapshot.json"
        document.parent.mkdir()
        write_document(document, accounts)
        asyncio.run(_measure_load(document, directory / "state", accounts))
        _measure_lookups(directory, [size for size in (1_000, 10_000, 100_000) if size <= accounts])


if __name__ == "__main__":
    main(sys.argv[1:])

"""What one letter costs, for docs/capacity.md: processor time, bytes in the ledger, on the broker, and on the wire.

    python -m bench.capacity [--letters 3000] [--mailboxes 40] [--only postgresql copies sqlite]

Starts RabbitMQ, PostgreSQL, Dovecot and a mail server that takes everything over TLS; then one worker sends the
letters three times: with PostgreSQL, with PostgreSQL and a copy in Sent for each, and with SQLite. Each line names a
figure that the page uses. How fast it goes is not told: that is what `python -m bench` measures.
"""

import argparse
import asyncio
import json
import math
import os
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aio_pika
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from stack import Authority, Mailbox, MailServer, PostgreSQL, RabbitMQ, private_directory, running
from stack.scripted_smtp import ScriptedSmtpServer
from worker.adapters.broker.topology import apply_topology
from worker.adapters.clock import SystemClock
from worker.adapters.ledger import LedgerOptions, migrate, open_ledger
from worker.domain.events.cloudevents import STRUCTURED
from worker.domain.topology import Topology

TOPOLOGY = Topology()
MAX_LETTERS = 50_000
MAX_MAILBOXES = 5_000
CONNECTIONS = 2
PASSWORD = "sendas"
PUBLISHING_AT_ONCE = 500
HTML = "<p>Здравствуйте!</p>" + "<p>Мастер приедет завтра, как мы договорились по телефону.</p>" * 12
CUSTOMER = "client@customer.example"


def address(number: int) -> str:
    """A customer's mailbox."""
    return f"support-{number}@acme.example"


def event(number: int, mailboxes: int) -> dict[str, Any]:
    """A comment of about a thousand letters, from the mailbox whose turn it is."""
    return {
        "specversion": "1.0",
        "id": f"capacity-{number}",
        "source": "/bench",
        "type": "comment.created",
        "time": "2026-11-23T10:00:00Z",
        "data": {
            "account_id": "acme",
            "author": {"employee_id": "ivan"},
            "task": {"id": str(number), "title": "Ремонт кондиционера"},
            "comment": {"id": str(number), "html": HTML, "created_at": "2026-11-23T10:00:00Z"},
            "mailbox_id": f"mailbox-{number % mailboxes}",
            "recipients": [{"address": CUSTOMER, "name": "Клиент"}],
            "thread": {"in_reply_to": "<1@product.example>", "references": ["<0@product.example>"]},
        },
    }


def snapshot(smtp_port: int, imap_port: int, mailboxes: int, copies: str) -> dict[str, Any]:
    """One account with all mailboxes."""

    def mailbox(number: int) -> dict[str, Any]:
        auth = {"method": "password", "username": address(number), "secret": {"env": "SENDAS_SECRET_BENCH"}}
        return {
            "id": f"mailbox-{number}",
            "owner": {"kind": "company"},
            "address": address(number),
            "display_name": "ACME",
            "smtp": {"host": "localhost", "port": smtp_port, "security": "tls", "auth": auth},
            "sent_copy": {"mode": copies, "imap": {"host": "localhost", "port": imap_port, "security": "tls"}},
            "limits": {"connections": CONNECTIONS},
        }

    account = {
        "id": "acme",
        "plan": "paid",
        "settings": {"plain_text_version": True},
        "employees": [{"id": "ivan", "name": "Иван Петров", "internal_address": "ivan@acme.product.example"}],
        "mailboxes": [mailbox(number) for number in range(mailboxes)],
    }
    relay = {"host": "localhost", "port": smtp_port, "security": "tls", "auth": {"method": "none"}}
    document = {"schema": "sendas.snapshot/v1", "version": 1, "generated_at": "2026-11-23T09:00:00Z"}
    return {**document, "platform": {"relay": relay}, "accounts": [account]}


class Process:
    """What Linux says of a process."""

    def __init__(self, pid: int) -> None:
        self._proc = Path(f"/proc/{pid}")

    def cpu_s(self) -> float:
        """Seconds of processor time so far, with those of children that have ended (the snapshot's compiler)."""
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")

    def peak_mb(self) -> float:
        """The most memory it had."""
        lines = dict(line.split(":", 1) for line in (self._proc / "status").read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 1_024


@dataclass
class Results:
    """How many results came, and their size."""

    expected: int
    wanted: frozenset[str]
    count: int = 0
    bytes: int = 0

    def __post_init__(self) -> None:
        self.has_begun = asyncio.Event()
        self.is_complete = asyncio.Event()
        self._done = 0

    async def take(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        self.has_begun.set()
        self.count += 1
        self.bytes += len(message.body)
        self._done += (message.type or "") in self.wanted
        if self._done >= self.expected:
            self.is_complete.set()


@dataclass(frozen=True)
class Servers:
    """What the worker talks to."""

    directory: Path
    broker: RabbitMQ
    database: PostgreSQL
    mail: MailServer
    sink: ScriptedSmtpServer
    mailboxes: int


@asynccontextmanager
async def servers(directory: Path, mailboxes: int) -> AsyncIterator[Servers]:
    """All servers while the context lasts."""
    authority = Authority(directory / "tls")
    users = {address(number): PASSWORD for number in range(mailboxes)}
    mail = MailServer(directory / "mail", authority, mailboxes=[Mailbox(each, PASSWORD) for each in users])
    certificate = authority.issue("sink")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    sink = ScriptedSmtpServer(tls=context, is_implicit_tls=True, users=users)
    broker, database = RabbitMQ(directory / "rabbitmq"), PostgreSQL(directory / "postgresql")
    async with running(broker), running(database), running(mail), sink:
        yield Servers(directory, broker, database, mail, sink, mailboxes)


def tell(what: str, number: float, unit: str) -> None:
    """One figure a line."""
    print(f"  {what:<58} {number:>12,.1f} {unit}", flush=True)


async def measure(here: Servers, letters: int, name: str, ledger_url: str, copies: str) -> None:
    """Take the letters through one worker, and tell what they cost."""
    print(f"{name}: {letters} letters", flush=True)
    vhost = await here.broker.first.add_vhost(name.replace(" ", "-"))
    await apply_topology(vhost, TOPOLOGY)
    await publish(here, vhost, letters)
    wanted = frozenset({"sent_copy.saved"}) if copies == "always" else frozenset({"mail.sent"})
    state = here.directory / f"worker-{name}"
    state.mkdir()
    document = snapshot(here.sink.port, here.mail.dovecot.imaps_port, here.mailboxes, copies)
    (state / "snapshot.json").write_text(json.dumps(document))
    settings = worker_settings(here, vhost, state, ledger_url)
    here.sink.letters.clear()
    async with await aio_pika.connect(vhost) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(TOPOLOGY.results_exchange, "#")
        results = Results(letters, wanted)
        await queue.consume(results.take, no_ack=True)
        await work(settings, results, letters)
    wire = sum(len(letter.wire) for letter in here.sink.letters)
    tell("bytes of a letter as it is sent", wire / len(here.sink.letters), "bytes")
    tell("results of a letter", results.count / letters, "")
    tell("bytes of all results of a letter", results.bytes / letters, "bytes")


async def work(settings: Mapping[str, str], results: Results, letters: int) -> None:
    """Run one worker until all is done."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker", "run"),
        env={**os.environ, **settings},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        seen = Process(process.pid)
        async with asyncio.timeout(60 + letters / 10):
            await results.has_begun.wait()
            start_s = seen.cpu_s()
            await results.is_complete.wait()
        tell("processor seconds to start a worker", start_s, "s")
        tell("processor seconds of the worker, for 1,000 letters", 1_000 * (seen.cpu_s() - start_s) / letters, "s")
        tell("most memory of the worker", seen.peak_mb(), "MiB")
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def publish(here: Servers, vhost: str, letters: int) -> None:
    """Publish all events before a worker is there, and tell what they take while they wait."""
    data = here.directory / "rabbitmq"
    before = size_of(data)
    size = 0
    async with await aio_pika.connect(vhost) as connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(TOPOLOGY.events_exchange, ensure=False)
        for first in range(0, letters, PUBLISHING_AT_ONCE):
            bodies = [
                json.dumps(event(number, here.mailboxes), ensure_ascii=False).encode()
                for number in range(first, min(first + PUBLISHING_AT_ONCE, letters))
            ]
            size += sum(map(len, bodies))
            messages = [aio_pika.Message(body, content_type=STRUCTURED, delivery_mode=2) for body in bodies]
            await asyncio.gather(*(exchange.publish(message, "comment.created") for message in messages))
    tell("bytes of an event", size / letters, "bytes")
    tell("bytes on the broker's disk for an event that waits", (size_of(data) - before) / letters, "bytes")


def size_of(directory: Path) -> int:
    """Bytes of all files below."""
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file() and not file.is_symlink())


def worker_settings(here: Servers, vhost: str, state: Path, ledger_url: str) -> dict[str, str]:
    """The worker's environment."""
    return {
        "SENDAS_BROKER_URL": vhost,
        "SENDAS_LEDGER_URL": ledger_url,
        "SENDAS_SNAPSHOT_URL": f"file:{state / 'snapshot.json'}",
        "SENDAS_STATE_DIR": str(state),
        "SENDAS_TLS_CA_FILE": str(here.mail.authority.ca_file),
        "SENDAS_EGRESS_ALLOW": "127.0.0.0/8,::1/128",
        "SENDAS_ACCOUNT_SHARE": "1",  # one account plays all customers
        "SENDAS_MAILBOX_SHARE": "1",
        "SENDAS_LOCAL_HOSTNAME": "localhost",
        "SENDAS_HTTP_HOST": "127.0.0.1",
        "SENDAS_HTTP_PORT": "0",
        "SENDAS_RECIPIENT_LIMIT": "0",  # all letters are for one customer
        "SENDAS_SECRET_BENCH": PASSWORD,
        "SENDAS_SECRET_REFERENCE_ACCOUNTS": "acme",
    }


@dataclass(frozen=True)
class Footprint:
    """What a PostgreSQL database has written and holds."""

    wal_bytes: int
    bytes: int
    transactions: int

    @classmethod
    async def of(cls, url: str) -> "Footprint":
        engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
        async with engine.connect() as connection:
            await connection.execute(text("SELECT pg_stat_force_next_flush()"))
            row = (await connection.execute(text(_FOOTPRINT))).one()
        await engine.dispose()
        return cls(*map(int, row))


_FOOTPRINT = """
SELECT pg_current_wal_lsn() - '0/0'::pg_lsn,
       (SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname LIKE 'ledger_%' AND relkind = 'r'),
       (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database())
"""


async def with_postgresql(here: Servers, letters: int, name: str, copies: str) -> None:
    url = await here.database.add_database()
    await migrate(url)
    before = await Footprint.of(url)
    await measure(here, letters, name, url, copies)
    after = await Footprint.of(url)
    tell("bytes of the ledger for a letter, with its indexes", (after.bytes - before.bytes) / letters, "bytes")
    tell("bytes of write-ahead log for a letter", (after.wal_bytes - before.wal_bytes) / letters, "bytes")
    tell("transactions for 1,000 letters", 1_000 * (after.transactions - before.transactions) / letters, "")
    if copies == "never":
        await forget(url, letters)


class LaterClock(SystemClock):
    """What the clock will show when nothing of today is kept any more."""

    def now(self) -> datetime:
        return super().now() + timedelta(days=30)


async def forget(url: str, letters: int) -> None:
    """Let everything expire."""
    ledger = await open_ledger(url, "bench", LaterClock(), LedgerOptions(max_clock_skew_s=math.inf))
    began_s = time.monotonic()
    forgotten = await ledger.expire()
    tell("milliseconds to forget 1,000 letters", 1e6 * (time.monotonic() - began_s) / forgotten, "ms")
    await ledger.close()
    assert forgotten == letters


async def with_sqlite(here: Servers, letters: int) -> None:
    file = here.directory / "ledger.db"
    await migrate(f"sqlite:///{file}")
    before = file.stat().st_size
    await measure(here, letters, "sqlite", f"sqlite:///{file}", "never")
    tell("bytes of the ledger for a letter, with its indexes", (file.stat().st_size - before) / letters, "bytes")


async def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what a letter costs.")
    parser.add_argument("--letters", type=int, default=3_000)
    parser.add_argument("--mailboxes", type=int, default=40)
    parser.add_argument("--only", nargs="*", choices=["postgresql", "copies", "sqlite"])
    given = parser.parse_args()
    letters, mailboxes = min(given.letters, MAX_LETTERS), min(given.mailboxes, MAX_MAILBOXES)
    with private_directory() as directory:
        async with servers(directory, mailboxes) as here:
            runs = {
                "postgresql": lambda: with_postgresql(here, letters, "postgresql", "never"),
                "copies": lambda: with_postgresql(here, letters, "postgresql and copies", "always"),
                "sqlite": lambda: with_sqlite(here, letters),
            }
            for name in given.only or runs:
                await runs[name]()


if __name__ == "__main__":
    asyncio.run(main())

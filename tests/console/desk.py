"""A console of its own for a test: the installed command, on the session's broker and mail server."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aio_pika
from argon2 import PasswordHasher

from tests.acceptance.command import running_worker
from tests.acceptance.office import Office
from tests.dead_letter_samples import BURIED, a_body
from worker.domain.events.cloudevents import STRUCTURED
from worker.domain.topology import Topology

PASSWORD = "correct horse battery"
TOPOLOGY = Topology()
_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
_PEOPLE = f"""
[people.olga]
password = "{_HASH}"
role = "operator"
[people.victor]
password = "{_HASH}"
role = "viewer"
[people.ann]
password = "{_HASH}"
role = "operator"
accounts = ["acme"]
"""


@dataclass(frozen=True)
class Console:
    """A console that runs: where it is, and the office whose letters it shows."""

    origin: str
    office: Office

    async def bury(self, ids: Iterable[str], **headers: str | int) -> None:
        """Put letters into the dead queue."""
        async with await aio_pika.connect(self.office.broker_url) as connection:
            channel = await connection.channel()
            publish = channel.default_exchange.publish
            messages = [
                aio_pika.Message(a_body(each), headers={**BURIED, **headers}, content_type=STRUCTURED, delivery_mode=2)
                for each in ids
            ]
            for first in range(0, len(messages), 500):
                await asyncio.gather(*(publish(each, TOPOLOGY.dead) for each in messages[first : first + 500]))

    async def depth(self, queue: str) -> int:
        """How many messages are ready in a queue."""
        async with await aio_pika.connect(self.office.broker_url) as connection:
            channel = await connection.channel()
            declared = await channel.declare_queue(queue, passive=True)
            return declared.declaration_result.message_count or 0


def settings_of(office: Office, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The settings of an office's console, beside which there is a history."""
    people = office.directory / "people.toml"
    people.write_text(_PEOPLE)
    return {
        **office.settings,
        "SENDAS_HISTORY": "whole",
        "SENDAS_CONSOLE_PEOPLE_FILE": str(people),
        "SENDAS_CONSOLE_PORT": "0",
        **(more or {}),
    }


def worker_settings(office: Office, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The settings of a worker beside the console, on the same ledger.

    It has a state directory of its own: in the console's stands the snapshot from before a test changed it, which a
    worker would begin with.
    """
    ledger = f"sqlite:///{office.directory / 'state' / 'ledger.db'}"
    own = {"SENDAS_STATE_DIR": str(office.directory / "state-of-worker"), "SENDAS_LEDGER_URL": ledger}
    return settings_of(office, {**own, **(more or {})})


@asynccontextmanager
async def running_console(office: Office, more: Mapping[str, str] | None = None) -> AsyncIterator[Console]:
    """A console while the context lasts; the tables of its ledger and history are there."""
    begun = "console.started"
    async with running_worker(settings_of(office, more), command=("console",), starting=begun, until=begun) as process:
        port = (await process.says(begun))["port"]
        yield Console(f"http://127.0.0.1:{port}", office)
        await process.stop()

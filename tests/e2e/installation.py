"""Real workers, each on a virtual host of its own, and the cases that share them."""

import asyncio
import json
import secrets
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stack import RabbitMQ
from stack.authority import Authority
from stack.scripted_smtp import AcceptedLetter, ScriptedSmtpServer
from tests.acceptance.command import running_worker, sendas
from tests.e2e.broker import Broker, Message, broker_at
from tests.e2e.case import PASSWORDS, Case
from tests.e2e.playing import CommandFailed, Play
from tests.e2e.servers import Servers, TextSmtp, servers_of


@dataclass
class Installation:
    """What the cases of one worker share: virtual host, snapshot, relay."""

    directory: Path
    settings: Mapping[str, str]
    relay: ScriptedSmtpServer
    plays: dict[str, Play] = field(default_factory=dict)
    strays: list[str] = field(default_factory=list)
    _broker: Broker | None = None
    _accounts: dict[str, list[Any]] = field(default_factory=dict)
    _version: int = 0

    @property
    def broker(self) -> Broker:
        """The virtual host."""
        assert self._broker is not None
        return self._broker

    async def put_into_snapshot(self, case: Case, servers: Servers, name: str) -> None:
        """Replace the case's accounts in the snapshot."""
        self._accounts[case.name] = json.loads(servers.real(case.text(name)))["accounts"]
        self._version += 1
        document = {
            "schema": "sendas.snapshot/v1",
            "version": self._version,
            "generated_at": "2026-11-23T09:00:00Z",
            "platform": {
                "relay": {
                    "host": "localhost",
                    "port": self.relay.port,
                    "security": "none",
                    "auth": {"method": "none"},
                }
            },
            "accounts": [account for accounts in self._accounts.values() for account in accounts],
        }
        new = self.directory / "snapshot.new"
        new.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        new.replace(self.directory / "snapshot.json")

    async def command(self, arguments: str) -> None:
        """Run a command of `sendas`. Raises `CommandFailed`."""
        ended = await sendas(*shlex.split(arguments), settings=self.settings)
        if ended.status != 0:
            raise CommandFailed(f"`sendas {arguments}` ended with {ended.status}: {ended.errors}")

    def take(self, message: Message) -> None:
        """Hand a message to the case whose company it names."""
        for play in self.plays.values():
            if play.case.company.encode() in message.all_of_it:
                play.take(message)
                return
        self.strays.append(f"{message.queue}: {message.message.body.decode('utf-8', 'replace')}")

    def take_relayed(self, letter: AcceptedLetter) -> None:
        """Hand a letter at the relay to the case whose company sent it."""
        for play in self.plays.values():
            if play.case.company in letter.sender:
                play.relayed.append(letter)
                return
        self.strays.append(f"relay: {letter.wire.decode('utf-8', 'replace')}")

    async def run(self, queues: list[str], *, is_writing: bool) -> None:
        """Play all cases at once, stop the worker in good order, and collect what is left."""
        async with broker_at(self.settings["SENDAS_BROKER_URL"], queues, self.take) as self._broker:
            async with running_worker(self.settings) as worker:
                await asyncio.gather(*(play.play(self, is_writing=is_writing) for play in self.plays.values()))
                await worker.stop()
            await self._broker.take_the_rest()


@asynccontextmanager
async def _installation(
    directory: Path, settings: Mapping[str, str], cases: Sequence[Case], authority: Authority
) -> AsyncIterator[Installation]:
    certificate = authority.issue(f"e2e-{directory.name}")
    async with AsyncExitStack() as stack:
        relay = TextSmtp()
        relay.play("")
        await stack.enter_async_context(relay)
        installation = Installation(directory, settings, relay)
        relay.on_letter = installation.take_relayed
        for case in cases:
            servers = await stack.enter_async_context(servers_of(case, certificate))
            installation.plays[case.name] = Play(case, servers)
            await installation.put_into_snapshot(case, servers, "snapshot.json")
        yield installation


@dataclass
class Runner:
    """Starts a worker for each group of cases on one broker, in a directory that its owner removes."""

    rabbitmq: RabbitMQ
    authority: Authority
    directory: Path
    dns_server: str
    is_writing: bool
    _queues: list[str] = field(default_factory=list)
    _node: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run_together(self, cases: Sequence[Case]) -> Installation:
        """Run cases of the same settings with one worker; gives all that came out."""
        name = f"e2e-{secrets.token_hex(4)}"
        home = self.directory / name
        home.mkdir()
        async with self._node:  # erl_call gives itself one name, and the node refuses a second caller of that name
            url = await self.rabbitmq.first.add_vhost(name)
        async with _installation(home, self._settings(home, url, cases), cases, self.authority) as installation:
            await installation.command("topology apply")
            await installation.run(await self._queues_of(name), is_writing=self.is_writing)
        async with self._node:
            await self.rabbitmq.first.delete_vhost(name)
        return installation

    async def _queues_of(self, vhost: str) -> list[str]:
        """The queues that the command declared; all virtual hosts have the same ones."""
        async with self._node:
            if not self._queues:
                listed = await self.rabbitmq.first.ctl("list_queues", "--vhost", vhost, "--no-table-headers", "name")
                self._queues = listed.split()
            return self._queues

    def _settings(self, directory: Path, url: str, cases: Sequence[Case]) -> dict[str, str]:
        return {
            "SENDAS_BROKER_URL": url,
            "SENDAS_SNAPSHOT_URL": f"file:{directory / 'snapshot.json'}",
            "SENDAS_STATE_DIR": str(directory / "state"),
            "SENDAS_TLS_CA_FILE": str(self.authority.ca_file),
            "SENDAS_EGRESS_ALLOW": "127.0.0.1/32",
            "SENDAS_ALLOW_PLAINTEXT": "true",
            "SENDAS_FILES_ALLOW_HTTP": "true",
            "SENDAS_HTTP_HOST": "127.0.0.1",
            "SENDAS_HTTP_PORT": "0",
            "SENDAS_LOCAL_HOSTNAME": "worker.sendas.example",
            "SENDAS_SECRET_REFERENCE_ACCOUNTS": ",".join(sorted(id_ for case in cases for id_ in case.account_ids)),
            "SENDAS_DNS_SERVER": self.dns_server,
            **PASSWORDS,
            **cases[0].settings,
        }

"""Everything that runs: broker, mail server, file server and the real worker, in a directory of their own."""

import asyncio
import os
import shlex
import ssl
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from demo.checks import RECORDS, WANTS_APP_PASSWORD
from demo.files import serve_files
from demo.inboxes import MailProgram
from demo.snapshot import filled, mailbox_addresses
from stack import SPAM, Mailbox, ServerError, Stack, running
from stack.dnsmasq import Dnsmasq
from stack.ports import free_ports
from stack.probe import greets
from stack.process import Child, tail
from stack.scripted_smtp import ScriptedSmtpServer
from worker.adapters.auth.secrets import generate_key

PASSWORD = "sendas"
INTERNAL = ("maria@studio.product.example",)  # employees who receive letters too
CUSTOMERS = ("anna@customer.example", "boris@customer.example", "vera@partner.example")
SUSPICIOUS = "suspicious@customer.example"  # whose server takes everything for spam

SENDAS = Path(sys.executable).with_name("sendas")


@dataclass(frozen=True)
class Installation:
    """What runs, and where."""

    directory: Path
    stack: Stack
    settings: Mapping[str, str]
    files_url: str
    http_port: int
    worker: Child

    @property
    def snapshot(self) -> Path:
        """The configuration snapshot that the worker follows."""
        return Path(self.settings["SENDAS_SNAPSHOT_URL"].removeprefix("file:"))

    @property
    def mail_program(self) -> MailProgram:
        """A way to read every mailbox."""
        return MailProgram(self.stack.mail.dovecot.imaps_port, self.stack.authority.ca_file, PASSWORD)

    @property
    def worker_log(self) -> Path:
        """What the worker wrote."""
        return self.directory / "worker.log"

    @property
    def refused_sign_ins(self) -> int:
        """How many sign-ins the mail server has refused so far."""
        log = self.directory / "servers/mail/postfix/postfix.log"
        return log.read_text(errors="replace").count("authentication failed")

    async def sendas(self, *arguments: str) -> None:
        """Run one command of `sendas` to its end. Raises ServerError with what it wrote when it fails."""
        process = await asyncio.create_subprocess_exec(
            SENDAS,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment(self.settings),
        )
        try:
            output, _ = await process.communicate()
        except BaseException:
            if process.returncode is None:
                process.kill()
                await process.wait()
            raise
        if process.returncode:
            raise ServerError(f"sendas {shlex.join(arguments)}: {output.decode(errors='replace').strip()}")

    async def publish(self, files: Sequence[Path], *options: str) -> None:
        """Publish events as the product would."""
        await self.sendas("publish", *options, *map(str, files))

    async def start_worker(self) -> None:
        """Start the worker, and return when it says that it is ready."""
        await self.worker.start(self._is_ready)

    async def _is_ready(self) -> bool:
        return await greets(self.http_port, b"HTTP/1.0 200", hello=b"GET /readyz HTTP/1.0\r\n\r\n")

    def log_tail(self) -> str:
        """The last lines of the worker's log."""
        return tail(self.worker_log)


@asynccontextmanager
async def installation(
    directory: Path,
    snapshot: Path,
    *,
    management: bool = False,
    has_history: bool = False,
    is_talkative: bool = False,
) -> AsyncIterator[Installation]:
    """Start everything but the worker, which comes with `start_worker`; stop everything at the end.

    Args:
        directory: where all lies; it exists, and servers may pass through it.
        snapshot: where the configuration snapshot is written.
        management: also RabbitMQ's management pages.
        has_history: results also go to a queue of the history.
    """
    servers = directory / "servers"
    servers.mkdir(mode=0o711)
    servers.chmod(0o711)
    addresses = [*mailbox_addresses(), *INTERNAL, *CUSTOMERS]
    mailboxes = [Mailbox(address, PASSWORD) for address in addresses]
    names = Dnsmasq(servers / "dns", RECORDS)
    async with (
        serve_files() as files_url,
        Stack.start(servers, {"rabbitmq", "mail"}, mailboxes=mailboxes, management=management) as stack,
        running(names),
        ScriptedSmtpServer(WANTS_APP_PASSWORD, tls=_server_tls(stack), is_implicit_tls=True) as two_factor,
    ):
        await stack.mail.answer(SUSPICIOUS, SPAM)
        [http_port] = free_ports(1)
        settings = {
            "SENDAS_BROKER_URL": stack.rabbitmq.amqp_url,
            "SENDAS_SNAPSHOT_URL": f"file:{snapshot}",
            "SENDAS_SEALING_KEYS_FILE": str(directory / "sealing-keys"),
            "SENDAS_STATE_DIR": str(directory / "state"),
            "SENDAS_TLS_CA_FILE": str(stack.authority.ca_file),
            "SENDAS_LOG_LEVEL": "DEBUG" if is_talkative else "INFO",
            "SENDAS_HTTP_HOST": "127.0.0.1",
            "SENDAS_HTTP_PORT": str(http_port),
            "SENDAS_LOCAL_HOSTNAME": "worker.sendas.example",
            "SENDAS_DNS_SERVER": names.address,
            # All servers of the demo are on this machine, and its relay and file server know no TLS.
            "SENDAS_EGRESS_ALLOW": "127.0.0.0/8,::1/128",
            "SENDAS_ALLOW_PLAINTEXT": "true",
            "SENDAS_FILES_ALLOW_HTTP": "true",
            "SENDAS_HISTORY": "whole" if has_history else "off",
        }
        _write_configuration(stack, two_factor.port, Path(settings["SENDAS_SEALING_KEYS_FILE"]), snapshot)
        worker = Child(
            "sendas run",
            [str(SENDAS), "run"],
            log=directory / "worker.log",
            cwd=directory,
            env=environment(settings),
        )
        try:
            yield Installation(directory, stack, settings, files_url, http_port, worker)
        finally:
            await worker.stop(timeout_s=30)


def _server_tls(stack: Stack) -> ssl.SSLContext:
    """TLS of a server whose certificate is good for localhost."""
    certificate = stack.authority.issue("two-factor")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    return context


def _write_configuration(stack: Stack, two_factor_port: int, keys: Path, snapshot: Path) -> None:
    private, public = generate_key("demo")
    keys.touch(mode=0o600)
    keys.write_text(private.get_secret_value() + "\n")
    now = datetime.now(UTC)
    values = {
        "relay_port": stack.mail.postfix.relay_port,
        "submission_port": stack.mail.postfix.submission_port,
        "smtps_port": stack.mail.postfix.smtps_port,
        "imaps_port": stack.mail.dovecot.imaps_port,
        "two_factor_port": two_factor_port,
        "yesterday": (now - timedelta(days=1)).isoformat(),
        "tomorrow": (now + timedelta(days=1)).isoformat(),
    }
    snapshot.write_text(filled(values, public))


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """What a command of `sendas` gets to see: no setting of the caller's own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SENDAS_")}
    return {**inherited, **settings}

"""The trial: Jobs and worker of the image against real servers, as Kubernetes would run them."""

import asyncio
import json
import re
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from demo.inboxes import MailProgram, opened
from deploy.image.building import Image
from deploy.image.container import Container, Running
from stack import Mailbox, ServerError, Stack
from stack.ports import free_ports
from stack.probe import greets
from stack.process import tail

PASSWORD = "sendas"
SENDER = Mailbox("support@acme.example", PASSWORD)
RECIPIENT = Mailbox("client@customer.example", PASSWORD)
LETTERS = 5  # sent while nothing happens
MORE_LETTERS = 60  # sent while the worker is told to end

Say = Callable[[str], None]


async def try_image(image: Image, root: Path, directory: Path, say: Say) -> None:
    """Raises ServerError, with the reason, when something is not as it should be."""
    servers = directory / "servers"
    servers.mkdir()
    servers.chmod(0o711)
    log = directory / "worker.log"
    async with Stack.start(servers, mailboxes=[SENDER, RECIPIENT]) as stack:
        [port] = free_ports(1)
        container = Container(image, root, _settings(port), _files(stack, directory))
        try:
            say(f"topology    {(await container.run('topology', 'apply')).splitlines()[-1]}")
            say(f"ledger      {(await container.run('ledger', 'migrate')).splitlines()[-1]}")
            await _try_worker(container, stack, log, port, say)
        except (ServerError, TimeoutError) as error:
            raise ServerError(f"{error or 'took too long'}\n{tail(log)}") from error


async def _try_worker(container: Container, stack: Stack, log: Path, port: int, say: Say) -> None:
    async with AsyncExitStack() as leaving:
        worker = await container.start(log)
        leaving.push_async_callback(worker.kill)
        await _ready(worker, port)
        say("worker      ready: /livez, /readyz and /metrics answer")
        say(f"  in its pod  {(await container.run('ready')).splitlines()[-1]}: `sendas ready`")
        await _check_confinement(container, worker, say)
        await container.execute(container.image.config["Healthcheck"]["Test"][1:])
        say("healthcheck passes")
        await container.run("publish", "/etc/sendas/events.json")
        await _check_letters(stack, LETTERS, say)
        in_flight = await _end_while_letters_are_in_flight(container, worker, stack, port)
        say(f"SIGTERM     drained with {in_flight} messages in flight, exit status 0")
        second = await container.start(log)
        leaving.push_async_callback(second.kill)
        await _check_letters(stack, LETTERS + MORE_LETTERS, say)
        second.terminate()
        await _check_end(second)


async def _end_while_letters_are_in_flight(container: Container, worker: Running, stack: Stack, port: int) -> int:
    """Tell the worker to end while its mail server keeps silent; the number of messages it then held."""
    stack.mail.postfix.suspend()
    try:
        await container.run("publish", "/etc/sendas/more-events.json")
        in_flight = 0
        async with asyncio.timeout(30):
            while not in_flight:
                in_flight = await asyncio.to_thread(_in_flight, port)
        worker.terminate()
        await _draining(port)
    finally:
        stack.mail.postfix.resume()
    await _check_end(worker)
    return in_flight


async def _draining(port: int) -> None:
    ready = b"GET /readyz HTTP/1.0\r\n\r\n"
    async with asyncio.timeout(30):
        while not await greets(port, b"HTTP/1.0 503", hello=ready):  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(0.05)


def _in_flight(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
        found = re.search(
            r'^sendas_in_flight\{queue="sendas\.outbound"\} (\S+)$', response.read().decode(), re.MULTILINE
        )
    return int(float(found[1])) if found else 0


async def _check_end(worker: Running) -> None:
    status = await worker.ended(timeout_s=90)
    if status != 0:
        raise ServerError(f"after SIGTERM the worker ended with {status}")


def _settings(port: int) -> dict[str, str]:
    return {
        "SENDAS_BROKER_URL_FILE": "/etc/sendas/broker-url",
        "SENDAS_LEDGER_URL_FILE": "/etc/sendas/ledger-url",
        "SENDAS_SNAPSHOT_URL": "file:/etc/sendas/snapshot.json",
        "SENDAS_SECRETS_DIR": "/etc/sendas",
        "SENDAS_SECRET_REFERENCE_ACCOUNTS": "acme",
        "SENDAS_TLS_CA_FILE": "/etc/sendas/ca.pem",
        "SENDAS_EGRESS_ALLOW": "127.0.0.0/8,::1/128",  # the servers are on this machine
        "SENDAS_LOCAL_HOSTNAME": "localhost",
        "SENDAS_RECIPIENT_LIMIT": "1000",  # all letters are for one customer
        "SENDAS_HTTP_HOST": "127.0.0.1",
        "SENDAS_HTTP_PORT": str(port),
    }


def _files(stack: Stack, directory: Path) -> dict[str, str]:
    contents = {
        "snapshot.json": json.dumps(_snapshot(stack)),
        "password": PASSWORD,
        "broker-url": stack.rabbitmq.amqp_url,
        "ledger-url": stack.postgresql.url,
        "ca.pem": stack.authority.ca_file.read_text(),
        "events.json": json.dumps([_event(number) for number in range(LETTERS)]),
        "more-events.json": json.dumps([_event(LETTERS + number) for number in range(MORE_LETTERS)]),
    }
    for name, text in contents.items():
        (directory / name).write_text(text)
    return {str(directory / name): f"/etc/sendas/{name}" for name in contents}


def _snapshot(stack: Stack) -> dict[str, Any]:
    auth = {"method": "password", "username": SENDER.address, "secret": {"file": "password"}}
    smtp = {"host": "localhost", "port": stack.mail.postfix.submission_port, "security": "starttls", "auth": auth}
    imap = {"host": "localhost", "port": stack.mail.dovecot.imaps_port, "security": "tls"}
    mailbox = {
        "id": "support",
        "owner": {"kind": "company"},
        "address": SENDER.address,
        "smtp": smtp,
        "sent_copy": {"mode": "always", "imap": imap},
    }
    employee = {"id": "ivan", "name": "Иван", "internal_address": "ivan@acme.product.example"}
    account = {"id": "acme", "plan": "paid", "employees": [employee], "mailboxes": [mailbox]}
    now = datetime.now(UTC).isoformat()
    document = {"schema": "sendas.snapshot/v1", "version": 1, "generated_at": now, "accounts": [account]}
    return {**document, "platform": {"relay": smtp}}


def _event(number: int) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    data = {
        "account_id": "acme",
        "author": {"employee_id": "ivan"},
        "task": {"id": "1", "title": f"Letter {number}"},
        "comment": {"id": str(number), "html": "<p>Мастер приедет завтра.</p>", "created_at": now},
        "recipients": [{"address": RECIPIENT.address, "role": "to"}],
        "append_signature": False,
    }
    identity = {"specversion": "1.0", "id": f"image-{number}", "source": "/trial", "type": "comment.created"}
    return {**identity, "time": now, "datacontenttype": "application/json", "data": data}


async def _ready(worker: Running, port: int) -> None:
    async with asyncio.timeout(90):
        for path in ("/livez", "/readyz", "/metrics"):
            while not await greets(port, b"HTTP/1.0 200", hello=f"GET {path} HTTP/1.0\r\n\r\n".encode()):
                if worker.has_ended:
                    raise ServerError("the worker ended before it was ready")
                await asyncio.sleep(0.1)


async def _check_confinement(container: Container, worker: Running, say: Say) -> None:
    """The worker is who the image says, has no rights, and can write nowhere but in its volume."""
    uid, gid = container.image.user
    found = {name: worker.status(name) for name in ("Uid", "Gid", "CapEff", "NoNewPrivs", "NSpid")}
    inside = found["NSpid"].split()[-1]
    say(f"process     uid {found['Uid'].split()[0]}, capabilities {found['CapEff']}, pid inside {inside}")
    if set(found["Uid"].split()) != {str(uid)} or set(found["Gid"].split()) != {str(gid)} or uid == 0:
        raise ServerError(f"the worker runs as {found['Uid']}, not as {uid}:{gid}")
    if int(found["CapEff"], 16) or found["NoNewPrivs"] != "1":
        raise ServerError(f"the worker could gain rights: {found}")
    say(f"root        {(await container.execute(['python', '-c', _PROBE])).strip()}")


# Runs inside, as the worker's user.
_PROBE = """
import errno, importlib.util, shutil
for path in ("/probe", "/opt/sendas/probe", "/etc/probe"):
    try:
        open(path, "w")
    except OSError as error:
        assert error.errno in (errno.EROFS, errno.EACCES), error
    else:
        raise SystemExit(f"{path} can be written")
open("/var/lib/sendas/probe", "w").close()
tools = [name for name in ("pip", "gcc", "cc", "make", "curl", "wget", "git") if shutil.which(name)]
assert not tools, tools
assert importlib.util.find_spec("pip") is None
mount = next(line.split()[3] for line in open("/proc/mounts") if line.split()[1] == "/")
assert mount.split(",")[0] == "ro", mount
print("read-only, its volume can be written; no pip, compiler or downloader")
"""


async def _check_letters(stack: Stack, count: int, say: Say) -> None:
    """All have arrived, each once, and lie in Sent."""
    program = MailProgram(stack.mail.dovecot.imaps_port, stack.authority.ca_file, PASSWORD)
    arrived = await asyncio.to_thread(program.read, RECIPIENT.address, "INBOX", at_least=count)
    saved = await asyncio.to_thread(program.read, SENDER.address, SENDER.sent_folder, at_least=count)
    subjects = Counter(str(opened(raw)["Subject"]) for raw in arrived)
    if subjects != Counter(f"Re: Letter {number}" for number in range(count)) or len(saved) != count:
        raise ServerError(f"{len(saved)} copies are in Sent, and these letters arrived: {subjects}")
    say(f"letters     {len(arrived)} arrived from {opened(arrived[0])['From']}, each once; {len(saved)} copies in Sent")

"""The trial: Jobs and worker of the image against real servers, as Kubernetes would run them."""

import asyncio
import json
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

PASSWORD = "sendas"
SENDER = Mailbox("support@acme.example", PASSWORD)
RECIPIENT = Mailbox("client@customer.example", PASSWORD)
LETTERS = 5

Say = Callable[[str], None]


async def try_image(image: Image, root: Path, directory: Path, say: Say) -> None:
    """Raises ServerError, with the reason, when something is not as it should be."""
    servers = directory / "servers"
    servers.mkdir()
    servers.chmod(0o711)
    async with AsyncExitStack() as leaving:
        stack = await leaving.enter_async_context(Stack.start(servers, mailboxes=[SENDER, RECIPIENT]))
        [port] = free_ports(1)
        container = Container(image, root, _settings(stack, port), _files(stack, directory))
        say(f"topology    {(await container.run('topology', 'apply')).splitlines()[-1]}")
        say(f"ledger      {(await container.run('ledger', 'migrate')).splitlines()[-1]}")
        worker = await container.start()
        leaving.push_async_callback(worker.kill)
        await _ready(worker, port)
        say("worker      ready: /livez, /readyz and /metrics answer")
        await _check_confinement(container, worker, say)
        await container.execute(image.config["Healthcheck"]["Test"][1:])
        say("healthcheck passes")
        await _send_letters(container, stack, say)
        status = await worker.terminate(timeout_s=60)
        if status != 0:
            raise ServerError(f"after SIGTERM the worker ended with {status}")
        say("SIGTERM     drained, exit status 0")


def _settings(stack: Stack, port: int) -> dict[str, str]:
    return {
        "SENDAS_BROKER_URL": stack.rabbitmq.amqp_url,
        "SENDAS_LEDGER_URL": stack.postgresql.url,
        "SENDAS_SNAPSHOT_URL": "file:/etc/sendas/snapshot.json",
        "SENDAS_SECRETS_DIR": "/etc/sendas",
        "SENDAS_TLS_CA_FILE": "/etc/sendas/ca.pem",
        "SENDAS_EGRESS_ALLOW": "127.0.0.0/8,::1/128",  # the servers are on this machine
        "SENDAS_LOCAL_HOSTNAME": "localhost",
        "SENDAS_HTTP_HOST": "127.0.0.1",
        "SENDAS_HTTP_PORT": str(port),
    }


def _files(stack: Stack, directory: Path) -> dict[str, str]:
    contents = {
        "snapshot.json": json.dumps(_snapshot(stack)),
        "password": PASSWORD,
        "ca.pem": stack.authority.ca_file.read_text(),
        "events.json": json.dumps([_event(number) for number in range(LETTERS)]),
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
                _ = worker.pid  # raises when the worker has ended
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


async def _send_letters(container: Container, stack: Stack, say: Say) -> None:
    await container.run("publish", "/etc/sendas/events.json")
    program = MailProgram(stack.mail.dovecot.imaps_port, stack.authority.ca_file, PASSWORD)
    arrived = await asyncio.to_thread(program.read, RECIPIENT.address, "INBOX", at_least=LETTERS)
    saved = await asyncio.to_thread(program.read, SENDER.address, SENDER.sent_folder, at_least=LETTERS)
    subjects = sorted(str(opened(raw)["Subject"]) for raw in arrived)
    if subjects != [f"Re: Letter {number}" for number in range(LETTERS)]:
        raise ServerError(f"these letters arrived: {subjects}")
    say(f"letters     {len(arrived)} arrived from {opened(arrived[0])['From']}, {len(saved)} copies in Sent")

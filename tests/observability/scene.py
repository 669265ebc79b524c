"""A worker that really works: letters leave, fail, wait and are in doubt, and a Prometheus watches."""

import asyncio
import itertools
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aio_pika
from aiohttp import ClientSession, web

from stack import BUSY, MailServer, Prometheus, running
from stack.scripted_smtp import ScriptedSmtpServer
from tests.acceptance.command import running_worker
from tests.acceptance.office import Json, Office
from tests.console.desk import settings_of
from worker.adapters.broker.topology import apply_topology
from worker.domain.topology import Topology

JOB = "sendas"
_UNKNOWN, _BUSY = "nobody-of-that-name@customer.example", "busy@customer.example"
_TOKEN = "at-1"


@dataclass(frozen=True)
class Kind:
    """A kind of event: from which mailbox and for whom, and how many of a hundred are of it."""

    mailbox_id: str
    recipient: str | None = None
    weight: int = 0


KINDS = (
    Kind("mailbox-0", weight=32),
    Kind("mailbox-1", weight=25),
    Kind("oauth", weight=12),
    Kind("copyless", weight=6),
    Kind("copy-later", weight=2),
    Kind("mailbox-0", _UNKNOWN, weight=6),
    Kind("mailbox-1", _BUSY, weight=8),
    Kind("locked", weight=4),
    Kind("lost", weight=2),
    Kind("garbage", weight=3),
)


@dataclass(frozen=True)
class Scene:
    """The worker's world while it works; `console` is where people sign in."""

    office: Office
    prometheus: Prometheus
    console: str
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def traffic(self, per_second: float) -> None:
        """Events of every kind, evenly, and somebody who opens the console, until cancelled."""
        async with await aio_pika.connect(self.office.broker_url) as connection, ClientSession() as browser:
            channel = await connection.channel()
            exchange = await channel.get_exchange("product.events", ensure=False)
            for kind in _evenly():
                event = self._event(next(self.numbers), kind)
                body = b"{" if kind.mailbox_id == "garbage" else json.dumps(event).encode()
                await exchange.publish(
                    aio_pika.Message(body, content_type="application/cloudevents+json"), "comment.created"
                )
                async with browser.get(self.console) as page:
                    await page.read()
                await asyncio.sleep(1 / per_second)  # this is the traffic's pace; nothing is waited for

    def _event(self, number: int, kind: Kind) -> Json:
        event = self.office.event(number, mailbox_id=kind.mailbox_id)
        if kind.recipient:
            event["data"]["recipients"] = [{"address": kind.recipient, "name": "X"}]
        return {**event, "time": datetime.now(UTC).isoformat()}


def _evenly() -> Iterator[Kind]:
    """Kinds by their weights, each as evenly spread as may be."""
    owed = dict.fromkeys(KINDS, 0)
    while True:
        for kind in KINDS:
            owed[kind] += kind.weight
        due = max(KINDS, key=lambda kind: owed[kind])
        owed[due] -= sum(kind.weight for kind in KINDS)
        yield due


@asynccontextmanager
async def working(directory: Path, office: Office, **prometheus: Any) -> AsyncIterator[Scene]:
    """The scene in an office with at least two mailboxes, on a broker without queues yet."""
    await apply_topology(office.broker_url, Topology(has_history=True))
    await office.mail.answer(_BUSY, BUSY)
    async with AsyncExitStack() as stack:
        lost, oauth = [await stack.enter_async_context(server) for server in _servers(office.mail)]
        token_port = await stack.enter_async_context(_token_server(_tls(office.mail)))
        _write_snapshot(office, lost.port, oauth.port, token_port)
        settings = {
            **office.settings,
            "SENDAS_SECRET_WRONG": "wrong",
            "SENDAS_SECRET_RT": "rt",
            "SENDAS_HISTORY": "masked",
        }
        office = replace(office, settings=settings)
        worker = await stack.enter_async_context(running_worker(settings))
        history = await stack.enter_async_context(
            running_worker(
                settings, command=("history", "consume"), until="history.consuming", starting="history.starting"
            )
        )
        own = {"SENDAS_STATE_DIR": str(directory / "state-of-console"), "SENDAS_HISTORY": "off"}
        console = await stack.enter_async_context(
            running_worker(
                settings_of(office, own), command=("console",), until="console.started", starting="console.started"
            )
        )
        ports = [process.port or 0 for process in (worker, history, console)]
        watching = Prometheus(directory / "prometheus", {JOB: ports}, **prometheus)
        await stack.enter_async_context(running(watching))
        address = f"http://127.0.0.1:{(await console.says('console.started'))['port']}"
        yield Scene(office, watching, address)


def _tls(mail: MailServer) -> ssl.SSLContext:
    certificate = mail.authority.issue("scene")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.chain, certificate.key)
    return context


def _servers(mail: MailServer) -> Iterator[ScriptedSmtpServer]:
    """One that loses its answers to the first letters, and one that takes access tokens."""
    tls = _tls(mail)
    yield ScriptedSmtpServer("once dot: accept, close\n" * 6, tls=tls, is_implicit_tls=True, users={"lost": "wrong"})
    yield ScriptedSmtpServer(tls=tls, is_implicit_tls=True, tokens={"oauth": _TOKEN})


@asynccontextmanager
async def _token_server(tls: ssl.SSLContext) -> AsyncIterator[int]:
    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"access_token": _TOKEN, "token_type": "Bearer", "expires_in": 3_600})

    application = web.Application()
    application.add_routes([web.post("/token", answer)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _write_snapshot(office: Office, lost_port: int, oauth_port: int, token_port: int) -> None:
    """The office's mailboxes, one for each thing that can go wrong with a mailbox, and an account that is not valid."""
    office.write_snapshot(copies="always")
    document = json.loads(office.snapshot.read_text())
    [account] = document["accounts"]
    first = account["mailboxes"][0]
    wrong = {"env": "SENDAS_SECRET_WRONG"}
    token = {
        "method": "xoauth2",
        "username": "oauth",
        "token_endpoint": f"https://localhost:{token_port}/token",
        "client_id": "client",
        "refresh_token": {"env": "SENDAS_SECRET_RT"},
    }
    password = {"method": "password", "username": "lost", "secret": wrong}
    never = {"mode": "never", "imap": None}
    account["mailboxes"] += [
        _changed(first, "locked", smtp={"auth": {**first["smtp"]["auth"], "secret": wrong}}),
        _changed(first, "lost", smtp={"port": lost_port, "security": "tls", "auth": password}, sent_copy=never),
        _changed(first, "oauth", smtp={"port": oauth_port, "security": "tls", "auth": token}, sent_copy=never),
        _changed(first, "copyless", sent_copy={"imap": {**first["sent_copy"]["imap"], "auth": password}}),
        _changed(first, "copy-later", sent_copy={"imap": {**first["sent_copy"]["imap"], "port": 1}}),
    ]
    document["accounts"].append({"id": "broken", "plan": "no such plan"})
    office.snapshot.write_text(json.dumps(document))


def _changed(mailbox: Json, mailbox_id: str, **parts: Json) -> Json:
    return {**mailbox, "id": mailbox_id, **{name: {**mailbox[name], **part} for name, part in parts.items()}}

"""A small company for the acceptance tests: an account with mailboxes on the real mail server, events, and results."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from stack import Mailbox, MailServer
from tests.acceptance.command import PATIENCE_S
from tests.integration.mail_client import imap, letter, submission

Json = dict[str, Any]


class Results:
    """Results as they come from the broker."""

    def __init__(self) -> None:
        self.all: list[Json] = []
        self._news = asyncio.Condition()

    async def take(self, message: AbstractIncomingMessage) -> None:
        """Take one result."""
        async with self._news:
            self.all.append(json.loads(message.body))
            self._news.notify_all()

    async def wait(self, is_enough: Callable[[list[Json]], bool]) -> list[Json]:
        """Wait until there is enough; gives all results."""
        try:
            async with asyncio.timeout(PATIENCE_S), self._news:
                await self._news.wait_for(lambda: is_enough(self.all))
        except TimeoutError:
            raise AssertionError(f"not enough results: {Counter(result['type'] for result in self.all)}") from None
        return self.all

    async def of_type(self, result_type: str, count: int = 1) -> list[Json]:
        """Wait for at least so many results of a type; gives them."""
        await self.wait(lambda results: sum(result["type"] == result_type for result in results) >= count)
        return [result for result in self.all if result["type"] == result_type]


@dataclass(frozen=True)
class Office:
    """An account `acme`, its mailboxes, a customer, and the settings of its worker on a virtual host of its own."""

    directory: Path
    mail: MailServer
    mailboxes: tuple[Mailbox, ...]
    customer: Mailbox
    settings: Mapping[str, str]

    @property
    def snapshot(self) -> Path:
        """The configuration snapshot."""
        return self.directory / "snapshot.json"

    @property
    def broker_url(self) -> str:
        """The virtual host."""
        return self.settings["SENDAS_BROKER_URL"]

    def event(self, number: int = 1, **more: object) -> Json:
        """A comment for the customer, from the mailbox whose turn it is."""
        return {
            "specversion": "1.0",
            "id": f"event-{number}",
            "source": "/product/comments",
            "type": "comment.created",
            "time": "2026-11-23T10:00:00Z",
            "datacontenttype": "application/json",
            "data": {
                "account_id": "acme",
                "author": {"employee_id": "ivan"},
                "task": {"id": f"t-{number}", "title": f"Task {number}"},
                "comment": {"id": f"c-{number}", "html": "<p>Привет</p>", "created_at": "2026-11-23T09:59:58Z"},
                "mailbox_id": f"mailbox-{number % len(self.mailboxes)}",
                "recipients": [{"address": self.customer.address, "name": "Клиент"}],
                **more,
            },
        }

    def event_file(self, event: Json, name: str = "event.json") -> Path:
        """The event as a file."""
        path = self.directory / name
        path.write_text(json.dumps(event, ensure_ascii=False))
        return path

    def write_snapshot(self, *, copies: str = "never", secret: Json | None = None, version: int = 1) -> None:
        """Write the snapshot; the mailboxes' passwords are in the worker's environment unless a secret is given."""
        relay = {"host": "localhost", "port": self.mail.postfix.relay_port, "security": "none"}
        document = {
            "schema": "sendas.snapshot/v1",
            "version": version,
            "generated_at": "2026-11-23T09:00:00Z",
            "platform": {"relay": {**relay, "auth": {"method": "none"}}},
            "accounts": [
                {
                    "id": "acme",
                    "plan": "paid",
                    "employees": [{"id": "ivan", "name": "Иван", "internal_address": "ivan@product.example"}],
                    "mailboxes": [
                        self._mailbox(number, mailbox, copies, secret or {"env": f"SENDAS_SECRET_{number}"})
                        for number, mailbox in enumerate(self.mailboxes)
                    ],
                }
            ],
        }
        written = self.directory / "snapshot.new"
        written.write_text(json.dumps(document))
        written.rename(self.snapshot)

    def _mailbox(self, number: int, mailbox: Mailbox, copies: str, secret: Json) -> Json:
        postfix, dovecot = self.mail.postfix, self.mail.dovecot
        auth = {"method": "password", "username": mailbox.address, "secret": secret}
        smtp = {"host": "localhost", "port": postfix.submission_port, "security": "starttls", "auth": auth}
        imap_server = {"host": "localhost", "port": dovecot.imaps_port, "security": "tls"}
        return {
            "id": f"mailbox-{number}",
            "owner": {"kind": "company"},
            "address": mailbox.address,
            "display_name": "ACME",
            "smtp": smtp,
            "sent_copy": {"mode": copies, "imap": imap_server},
            "limits": {"connections": 10},
        }

    async def publish(self, events: Iterable[Json]) -> None:
        """Publish events as the product would, confirmed by the broker."""
        async with await aio_pika.connect(self.broker_url) as connection:
            channel = await connection.channel()
            exchange = await channel.get_exchange("product.events", ensure=False)
            await asyncio.gather(*(exchange.publish(_message(event), event["type"]) for event in events))

    @asynccontextmanager
    async def results(self) -> AsyncIterator[Results]:
        """All results from now on."""
        results = Results()
        async with await aio_pika.connect(self.broker_url) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(exclusive=True)
            await queue.bind("sendas.results", "#")
            await queue.consume(results.take, no_ack=True)
            yield results

    async def waiting_in(self, queue_name: str) -> list[bytes]:
        """What waits in a queue."""
        bodies = []
        async with await aio_pika.connect(self.broker_url) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(queue_name, passive=True)
            while (message := await queue.get(fail=False)) is not None:
                bodies.append(message.body)
        return bodies

    async def subjects_received(self) -> Counter[str]:
        """How often the customer has each subject, when nothing more is on its way."""
        return await asyncio.to_thread(self._subjects_received)

    def _subjects_received(self) -> Counter[str]:
        # Postfix delivers what it accepted in that order, so that nothing is on its way when this letter is there.
        with submission(self.mail) as client:
            client.login(self.customer.address, self.customer.password)
            client.send_message(letter(self.customer.address, self.customer.address, "the last one"))
        with imap(self.mail, self.customer) as client:
            seen = 0
            while True:
                _wait_for_more(client, seen)
                _, parts = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
                headers = [part[1].decode() for part in parts if isinstance(part, tuple)]
                subjects = Counter(header.strip().removeprefix("Subject: ") for header in headers)
                if subjects.pop("the last one", 0):
                    return subjects
                seen = len(headers)


def an_office(
    directory: Path, broker_url: str, mail: MailServer, mailboxes: tuple[Mailbox, ...], customer: Mailbox
) -> Office:
    """An office in a directory, with its first snapshot."""
    office = Office(
        directory=directory,
        mail=mail,
        mailboxes=mailboxes,
        customer=customer,
        settings={
            "SENDAS_BROKER_URL": broker_url,
            "SENDAS_SNAPSHOT_URL": f"file:{directory / 'snapshot.json'}",
            "SENDAS_STATE_DIR": str(directory / "state"),
            "SENDAS_TLS_CA_FILE": str(mail.authority.ca_file),
            "SENDAS_EGRESS_ALLOW": "127.0.0.0/8,::1/128",
            "SENDAS_ALLOW_PLAINTEXT": "true",
            "SENDAS_FILES_ALLOW_HTTP": "true",
            "SENDAS_HTTP_HOST": "127.0.0.1",
            "SENDAS_HTTP_PORT": "0",
            "SENDAS_LOCAL_HOSTNAME": "worker.sendas.example",
            "SENDAS_RECIPIENT_LIMIT": "1000",  # all letters are for one customer
            "SENDAS_SECRET_REFERENCE_ACCOUNTS": "acme",
            **{f"SENDAS_SECRET_{number}": mailbox.password for number, mailbox in enumerate(mailboxes)},
        },
    )
    office.write_snapshot()
    return office


def _wait_for_more(client: Any, seen: int) -> None:
    """Return when the inbox has more than `seen` letters; the server tells by IDLE (RFC 2177)."""
    # Nothing may stand between this count and IDLE: its answer could swallow the news.
    _, [existing] = client.select("INBOX", readonly=True)
    if int(existing or 0) > seen:
        return
    client.send(b"w1 IDLE\r\n")
    while b"EXISTS" not in client.readline():
        pass
    client.send(b"DONE\r\n")
    while not client.readline().startswith(b"w1 OK"):
        pass


def _message(event: Json) -> aio_pika.Message:
    body = json.dumps(event, ensure_ascii=False).encode()
    return aio_pika.Message(
        body, content_type="application/cloudevents+json", delivery_mode=aio_pika.DeliveryMode.PERSISTENT
    )

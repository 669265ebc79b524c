"""What one customer does to a worker while others' letters are measured; each is a scenario of `bench.fairness`."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import aio_pika

from bench.evil_servers import StallingSmtp

Json = dict[str, Any]

FLOODED, DEAD = 0, 1
"""Numbers of mailboxes: the one with a backlog, and the one whose server never says a word."""

PER_ACCOUNT = 20
EVIL = "evil"
MANY = 64
_AT_ONCE = 500
_DEAD_LETTERS = 100
_PROOF_S = 2.5


@dataclass(frozen=True)
class Scene:
    """Where the servers are. `host`: of the sink, as the mailboxes of all the others name it."""

    host: str
    sink: int
    silent: int
    stalling: StallingSmtp
    files: int


@dataclass(frozen=True)
class Load:
    """How much there is: mailboxes of others, letters in the backlog, letters or requests of the evil account."""

    mailboxes: int
    backlog: int
    evil: int


class Publisher(Protocol):
    """Publishes what the product would."""

    async def publish(self, messages: Sequence[tuple[str, Json]]) -> None:
        """Events by their routing keys."""

    async def calm(self) -> None:
        """Wait until nothing waits in the work queue."""


def address(number: int) -> str:
    return f"mailbox-{number}@acme.example"


def smtp(host: str, port: int, username: str) -> Json:
    auth = {"method": "password", "username": username, "secret": {"env": "SENDAS_SECRET_BENCH"}}
    return {"host": host, "port": port, "security": "none", "auth": auth}


def mailbox(name: str, at: str, server: Json, **more: Any) -> Json:
    company = {"kind": "company"}
    return {"id": name, "owner": company, "address": at, "smtp": server, "sent_copy": {"mode": "never"}, **more}


def account(name: str, mailboxes: Sequence[Json]) -> Json:
    ivan = {"id": "ivan", "name": "Ivan", "internal_address": f"ivan@{name}.product.example"}
    settings = {"attach_files": True}
    return {"id": name, "plan": "paid", "settings": settings, "employees": [ivan], "mailboxes": list(mailboxes)}


def evil(host: str, port: int, mailboxes: int = MANY, **more: Any) -> Json:
    """The account that disturbs; `{}` in the host is the mailbox's number."""
    servers = [smtp(host.format(number), port, f"evil-{number}") for number in range(mailboxes)]
    return account(EVIL, [mailbox(f"evil-{n}", f"m{n}@evil.example", each, **more) for n, each in enumerate(servers)])


def envelope(kind: str, name: str, data: Json) -> Json:
    head = {"specversion": "1.0", "id": name, "source": "/bench", "type": kind, "time": "2026-11-23T10:00:00Z"}
    return {**head, "data": data}


def letter(name: str, account_id: str, mailbox_id: str, files: Sequence[str] = ()) -> tuple[str, Json]:
    """A comment whose letter has this name as its subject."""
    data = {
        "account_id": account_id,
        "author": {"employee_id": "ivan"},
        "task": {"id": name, "title": name},
        "comment": {"id": name, "html": "<p>Hello</p>", "created_at": "2026-11-23T09:59:58Z"},
        "mailbox_id": mailbox_id,
        "subject": name,
        "recipients": [{"address": f"{name}@example.net"}],
        "files": [
            {"name": "a.pdf", "content_type": "application/pdf", "size": 1_000, "url": url, "link": url}
            for url in files
        ],
    }
    return "comment.created", envelope("comment.created", name, data)


def check(name: str, account_id: str, mailbox_id: str) -> tuple[str, Json]:
    kind = "mailbox.check.requested"
    return kind, envelope(kind, name, {"account_id": account_id, "mailbox_id": mailbox_id})


def message(event: Json) -> aio_pika.Message:
    return aio_pika.Message(json.dumps(event).encode(), content_type="application/cloudevents+json", delivery_mode=2)


class Disturbance:
    """The undisturbed one: one that does nothing. Others' probes are letters, unless said otherwise."""

    is_check = False
    needs_names = False

    def accounts(self, scene: Scene) -> list[Json]:  # noqa: ARG002 - the interface
        """Further accounts in the snapshot."""
        return []

    def probe(self, scene: Scene, name: str, number: int) -> tuple[str, Json]:  # noqa: ARG002 - the interface
        """What is measured of another mailbox."""
        return letter(name, f"account-{number // PER_ACCOUNT}", f"mailbox-{number}")

    async def prepare(self, publisher: Publisher, load: Load) -> None:
        """Once, before all rounds."""

    async def begin(self, publisher: Publisher, scene: Scene, load: Load, number: int) -> None:
        """Before each round."""

    async def end(self, scene: Scene) -> None:
        """After each round."""
        scene.stalling.release()


class Backlog(Disturbance):
    """A backlog whose server takes 0.2 s a letter, and a mailbox whose server never says a word."""

    async def prepare(self, publisher: Publisher, load: Load) -> None:
        await publisher.publish([letter(f"dead-{n}", "account-0", f"mailbox-{DEAD}") for n in range(_DEAD_LETTERS)])
        for first in range(0, load.backlog, _AT_ONCE):
            numbers = range(first, min(first + _AT_ONCE, load.backlog))
            await publisher.publish([letter(f"flood-{n}", "account-0", f"mailbox-{FLOODED}") for n in numbers])
        await publisher.calm()


class Stalling(Disturbance):
    """An account of 64 mailboxes whose server, once it has taken some letters, never answers MAIL."""

    mailboxes, connections = MANY, 2

    def accounts(self, scene: Scene) -> list[Json]:
        limits = {"connections": self.connections}
        return [evil("127.0.0.1", scene.stalling.port, self.mailboxes, limits=limits)]

    async def begin(self, publisher: Publisher, scene: Scene, load: Load, number: int) -> None:
        """The mailboxes are proven to work, and get their connections, before the server stalls."""
        for wave in range(4):
            await publisher.publish([self._letter(f"{number}-{wave}", n) for n in range(100)])
            await asyncio.sleep(_PROOF_S)
        scene.stalling.stalls = True
        await publisher.publish([self._letter(f"{number}-stalls", n) for n in range(load.evil)])
        await publisher.calm()

    def _letter(self, name: str, number: int) -> tuple[str, Json]:
        return letter(f"evil-{name}-{number}", EVIL, f"evil-{number % self.mailboxes}")


class Connections(Stalling):
    """One mailbox that asks for 1,000 connections, whose server stalls once it has as many as it gets."""

    mailboxes, connections = 1, 1_000


class Files(Disturbance):
    """64 mailboxes whose letters have files on a server that drips; the others' letters have files too."""

    def accounts(self, scene: Scene) -> list[Json]:
        return [evil("127.0.0.1", scene.stalling.port)]

    def probe(self, scene: Scene, name: str, number: int) -> tuple[str, Json]:
        url = f"http://127.0.0.1:{scene.files}/{name}"
        return letter(name, f"account-{number // PER_ACCOUNT}", f"mailbox-{number}", [url])

    async def begin(self, publisher: Publisher, scene: Scene, load: Load, number: int) -> None:
        urls = [f"http://127.0.0.1:{scene.files}/drip-{n}" for n in range(3)]
        names = [(f"evil-{number}-{n}", f"evil-{n % MANY}") for n in range(load.evil)]
        await publisher.publish([letter(name, EVIL, box, urls) for name, box in names])
        await publisher.calm()


class SilentNames(Disturbance):
    """64 mailboxes whose servers' names are never answered for; the others' server has a name that is."""

    needs_names = True

    def accounts(self, scene: Scene) -> list[Json]:  # noqa: ARG002 - the interface
        return [evil("m{}.silent.test", 25)]

    async def begin(self, publisher: Publisher, scene: Scene, load: Load, number: int) -> None:  # noqa: ARG002 - the interface
        names = [(f"evil-{number}-{n}", f"evil-{n % MANY}") for n in range(load.evil)]
        await publisher.publish([letter(name, EVIL, box) for name, box in names])
        await publisher.calm()


class Checks(Disturbance):
    """64 mailboxes whose server never says a word, and that are checked all the time; probes are others' checks."""

    is_check = True

    def accounts(self, scene: Scene) -> list[Json]:
        return [evil("127.0.0.1", scene.silent)]

    def probe(self, scene: Scene, name: str, number: int) -> tuple[str, Json]:  # noqa: ARG002 - the interface
        return check(name, f"account-{number // PER_ACCOUNT}", f"mailbox-{number}")

    async def begin(self, publisher: Publisher, scene: Scene, load: Load, number: int) -> None:  # noqa: ARG002 - the interface
        await publisher.publish([check(f"evil-{number}-{n}", EVIL, f"evil-{n % MANY}") for n in range(load.evil)])
        await publisher.calm()


SCENARIOS: dict[str, Disturbance] = {
    "backlog": Backlog(),
    "stalling": Stalling(),
    "connections": Connections(),
    "files": Files(),
    "names": SilentNames(),
    "checks": Checks(),
}

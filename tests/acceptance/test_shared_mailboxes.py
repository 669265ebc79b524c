"""Two real workers and one customer's mailbox: what one of them learns holds for both."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

import aio_pika
import pytest

from stack import RabbitMQ
from stack.scripted_smtp import ScriptedSmtpServer
from tests.acceptance.command import PATIENCE_S, RunningWorker, running_worker, sendas
from tests.acceptance.office import Json, Office, Results
from worker.domain.topology import Topology

USER, PASSWORD = "support@acme.example", "right"
TOPOLOGY = Topology()
_POLL_S = 0.1

pytestmark = pytest.mark.timeout(300)  # two workers, commands and waits of seconds, on a machine that may be busy


class Customer:
    """Accounts whose mailboxes have the same id, address and server, and passwords of their own."""

    def __init__(self, office: Office, server: ScriptedSmtpServer) -> None:
        self.server = server
        own = {
            "SENDAS_SECRET_REFERENCE_ACCOUNTS": "acme,globex",
            "SENDAS_SECRET_RIGHT": PASSWORD,
            "SENDAS_SECRET_WRONG": "wrong",
        }
        self.office = replace(office, settings={**office.settings, **own})

    def write_snapshot(self, version: int, secrets: dict[str, str], **limits: int) -> None:
        """One account for each of `secrets`, which name the variables of their passwords."""
        relay = {"host": "localhost", "port": self.server.port, "security": "none", "auth": {"method": "none"}}
        document = {
            "schema": "sendas.snapshot/v1",
            "version": version,
            "generated_at": "2026-11-23T09:00:00Z",
            "platform": {"relay": relay},
            "accounts": [self._account(account, secret, limits) for account, secret in secrets.items()],
        }
        written = self.office.directory / "snapshot.new"
        written.write_text(json.dumps(document))
        written.rename(self.office.snapshot)

    def _account(self, account: str, secret: str, limits: dict[str, int]) -> Json:
        auth = {"method": "password", "username": USER, "secret": {"env": secret}}
        return {
            "id": account,
            "plan": "paid",
            "employees": [{"id": "ivan", "name": "Иван", "internal_address": f"ivan@{account}.product.example"}],
            "mailboxes": [
                {
                    "id": "mailbox",
                    "owner": {"kind": "company"},
                    "address": USER,
                    "smtp": {"host": "127.0.0.1", "port": self.server.port, "security": "none", "auth": auth},
                    "sent_copy": {"mode": "never"},
                    "limits": limits,
                }
            ],
        }

    async def publish(self, numbers: Iterable[int], account: str = "acme") -> None:
        await self.office.publish(
            self.office.event(number, account_id=account, mailbox_id="mailbox") for number in numbers
        )

    @property
    def sign_ins(self) -> int:
        """How often somebody tried a password."""
        return self.server.verbs().count("AUTH")

    async def until_waiting(self, letters: int) -> None:
        """Wait until so many letters are in the delay queues."""
        async with await aio_pika.connect(self.office.broker_url) as connection, asyncio.timeout(PATIENCE_S):
            channel = await connection.channel()
            while True:
                counts = [
                    await channel.declare_queue(queue.name, passive=True)
                    for queue in TOPOLOGY.queues()
                    if queue.name.startswith((f"{TOPOLOGY.outbound}.delay.", f"{TOPOLOGY.backlog}.delay."))
                ]
                if sum(found.declaration_result.message_count or 0 for found in counts) >= letters:
                    return
                await asyncio.sleep(_POLL_S)  # a queue's length can only be asked for


@asynccontextmanager
async def two_workers(customer: Customer) -> AsyncIterator[tuple[RunningWorker, RunningWorker]]:
    """Two workers on one broker and one ledger, each with few letters at a time, so that both get some."""
    few = {"SENDAS_CONCURRENCY": "4", "SENDAS_SNAPSHOT_INTERVAL_S": "1"}
    alone = {"SENDAS_ACCOUNT_SHARE": "1", "SENDAS_MAILBOX_SHARE": "1"}  # nobody else is there to share them with
    settings = {**customer.office.settings, **few, **alone}
    async with running_worker(settings) as one, running_worker(settings) as two:
        yield one, two


@pytest.fixture
async def customer(office: Office) -> AsyncIterator[Customer]:
    """A customer whose server takes every letter after the right password."""
    async with ScriptedSmtpServer(users={USER: PASSWORD}, mechanisms=("PLAIN",)) as server:
        yield Customer(office, server)


@pytest.fixture
async def _short_waits(rabbitmq: RabbitMQ, vhost_url: str) -> None:
    """What waits half a minute or longer in earnest waits for a second."""
    vhost = urlsplit(vhost_url).path.removeprefix("/")
    pattern = r"\.delay\.(\d\ds|.*[mh])$"
    await rabbitmq.first.ctl(
        "set_policy", "-p", vhost, "--apply-to", "queues", "short-waits", pattern, '{"message-ttl": 1000}'
    )


def _reasons(results: list[Json], kind: str) -> Counter[str]:
    return Counter(result["data"]["reason"] for result in results if result["type"] == kind)


async def _suspended(customer: Customer, results: Results, letters: int) -> None:
    """Have all letters meet the wrong password, of which the server hears once."""
    await customer.publish(range(letters))
    await results.wait(lambda found: _reasons(found, "mail.deferred")["auth_failed"] == letters)
    assert customer.sign_ins == 1
    assert _reasons(results.all, "mailbox.suspended") == {"auth_failed": 1}


@pytest.mark.usefixtures("_short_waits")
async def test_a_wrong_password_is_tried_once_and_an_operator_lets_the_letters_go(customer: Customer) -> None:
    """One sign-in by one of two workers and then none, whatever comes back from the delay queues; then `resume`."""
    customer.write_snapshot(2, {"acme": "SENDAS_SECRET_RIGHT"})
    customer.server.users[USER] = "not set at the provider yet"
    async with customer.office.results() as results, two_workers(customer) as (one, two):
        await _suspended(customer, results, 6)
        listed = await sendas("mailbox", "suspended", "--json", settings=customer.office.settings)
        assert listed.status == 0, listed.errors
        [shown] = json.loads(listed.output)
        assert (shown["account_id"], shown["mailbox_id"], shown["reply"]["code"]) == ("acme", "mailbox", 535)
        assert PASSWORD not in listed.output

        customer.server.users[USER] = PASSWORD
        resume = ("mailbox", "resume", "acme", "mailbox", "--why", "set at the provider", "--operator", "olga")
        assert (await sendas(*resume, settings=customer.office.settings)).status == 0
        await results.of_type("mail.sent", 6)
        assert (await sendas(*resume, settings=customer.office.settings)).status == 1

        [resumed] = await results.of_type("mailbox.resumed")
        assert (resumed["data"]["resumed_by"], resumed["data"]["operator"]) == ("operator", "olga")
        assert len(customer.server.letters) == 6
        assert {result["data"]["attempt"] for result in await results.of_type("mail.sent")} <= {1, 2}
        await asyncio.gather(one.stop(), two.stop())


@pytest.mark.usefixtures("_short_waits")
async def test_changed_settings_let_the_letters_go(customer: Customer) -> None:
    customer.write_snapshot(2, {"acme": "SENDAS_SECRET_WRONG"})
    async with customer.office.results() as results, two_workers(customer):
        await _suspended(customer, results, 6)

        customer.write_snapshot(3, {"acme": "SENDAS_SECRET_RIGHT"})
        await results.of_type("mail.sent", 6)

        await results.of_type("mailbox.resumed")
        assert _reasons(results.all, "mailbox.suspended") == {"auth_failed": 1}
        [resumed] = {each["id"]: each for each in results.all if each["type"] == "mailbox.resumed"}.values()
        assert resumed["data"]["resumed_by"] == "settings_changed"
        assert len(customer.server.letters) == 6


async def test_two_workers_never_have_more_connections_than_the_mailbox_may_have(customer: Customer) -> None:
    customer.write_snapshot(2, {"acme": "SENDAS_SECRET_RIGHT"}, connections=3)
    customer.server.play("dot: delay 0.05, proceed")
    async with customer.office.results() as results, two_workers(customer) as workers:
        await customer.publish(range(80))
        await results.of_type("mail.sent", 80)

        assert customer.server.most_open_connections <= 3
        assert len(customer.server.letters) == 80
        for worker in workers:
            assert any(said["event"] == "mail.sent" for said in worker.said())


async def test_two_workers_never_send_more_a_minute_than_the_mailbox_may(customer: Customer) -> None:
    """The letters beyond the limit wait in delay queues, without a word and without an attempt."""
    customer.write_snapshot(2, {"acme": "SENDAS_SECRET_RIGHT"}, per_minute=10)
    async with customer.office.results() as results, two_workers(customer):
        await customer.publish(range(25))
        await results.of_type("mail.sent", 10)
        await customer.until_waiting(15)

        assert len(customer.server.letters) == 10
        assert {result["type"] for result in results.all} == {"mail.sent", "sent_copy.skipped"}


async def test_a_rest_that_the_server_asks_for_holds_for_both_workers(customer: Customer) -> None:
    customer.write_snapshot(2, {"acme": "SENDAS_SECRET_RIGHT"}, connections=1)
    customer.server.play("mail: 450 4.7.0 too many messages, try again in 300 seconds")
    async with customer.office.results() as results, two_workers(customer):
        await customer.publish(range(12))
        await results.wait(lambda found: _reasons(found, "mail.deferred")["rate_limited"] == 12)

        assert customer.server.verbs().count("MAIL") == 1


@pytest.mark.usefixtures("_short_waits")
async def test_an_account_with_the_same_mailbox_never_meets_what_another_one_did(customer: Customer) -> None:
    """The same id, address, server and user name, and another password: no connection, suspension or word shared."""
    customer.write_snapshot(2, {"globex": "SENDAS_SECRET_RIGHT", "acme": "SENDAS_SECRET_WRONG"}, connections=1)
    async with customer.office.results() as results, two_workers(customer):
        await customer.publish(range(4), "globex")
        await results.of_type("mail.sent", 4)
        await customer.publish(range(4, 8), "acme")
        await results.wait(lambda found: _reasons(found, "mail.deferred")["auth_failed"] == 4)
        await customer.publish(range(8, 12), "globex")
        await results.of_type("mail.sent", 8)

    assert {letter.username for letter in customer.server.letters} == {USER}
    assert len(customer.server.letters) == 8
    of_acme = [result for result in results.all if result["data"]["account_id"] == "acme"]
    assert {result["type"] for result in of_acme} == {"mailbox.suspended", "mail.deferred"}
    assert "globex" not in json.dumps(of_acme)
    of_globex = [result for result in results.all if result["data"]["account_id"] == "globex"]
    assert {result["type"] for result in of_globex} == {"mail.sent", "sent_copy.skipped"}
    assert "acme.product" not in json.dumps(of_globex)

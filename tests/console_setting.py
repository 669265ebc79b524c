"""The console over doubles, and a browser without a screen: it keeps cookies, follows links, and sends pages' forms."""

import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
from argon2 import PasswordHasher
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from tests.broker_setting import SIGNATURES
from tests.builders import a_mailbox, an_account
from tests.dead_letter_samples import a_dead_letter
from tests.doubles.clock import SteppedClock
from tests.doubles.console import FixedDepths, FixedWorkers, MemorySnapshots, OpenedQueue
from tests.doubles.dead_queue import KeptMessage, MemoryDeadQueue
from tests.doubles.directory import a_directory
from tests.doubles.history import MemoryHistory
from tests.doubles.ledger import MemoryLedger
from tests.doubles.name_server import TableNameServer
from tests.doubles.visitors import FakeVisitors
from worker.adapters.dkim import DkimSignatures
from worker.console.app import create_app
from worker.console.auth.pages import Door
from worker.console.auth.passwords import Passwords
from worker.console.auth.people import People
from worker.console.auth.proxies import Proxies
from worker.console.auth.sessions import Sessions
from worker.console.auth.signing_in import SessionSignIn
from worker.console.checks import MailboxChecks
from worker.console.dead_letters.desk import DeadLetterDesk, Office
from worker.console.mailboxes import MailboxDesk
from worker.console.metrics import ConsoleMetrics
from worker.console.record import ActRecord
from worker.console.services import Services
from worker.delivery.limits import Limits
from worker.delivery.mailboxes.state import MailboxKey, OutboxMessage, Revision, Suspension
from worker.delivery.mailboxes.suspensions import Suspensions
from worker.delivery.messages import Publication
from worker.delivery.results import Reporter
from worker.domain.snapshot.model import Account
from worker.domain.topology import Topology
from worker.domain.vocabulary import Reason
from worker.operations.mailbox_check.check import CheckLimits, MailboxCheck

ORIGIN = "http://127.0.0.1:8090"
PASSWORD = "correct horse battery"
TOPOLOGY = Topology()
SUPPORT = MailboxKey("acme", "mb-support")

# As the console would make it, but for the work it costs.
_HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
PEOPLE = f"""
[people.olga]
password = "{_HASH}"
role = "operator"
[people.victor]
password = "{_HASH}"
[people.ann]
password = "{_HASH}"
role = "operator"
accounts = ["acme"]
[groups.support]
accounts = ["acme"]
[groups.operators]
role = "operator"
"""


def company(account_id: str = "acme") -> Account:
    """An account with two mailboxes, one of them with a secret that no page may show."""
    support = a_mailbox(id="mb-support", smtp={"auth": {"method": "password", "username": "support@acme.example",
                        "secret": {"sealed": "c2VjcmV0LW9mLWEtc25hcHNob3Q="}}})  # fmt: skip
    return an_account(id=account_id, mailboxes=[support, a_mailbox(id="mb-sales", address="sales@acme.example")])


class PublishedHere:
    """Takes publications; `on_publish` is called before each."""

    def __init__(self) -> None:
        self.published: list[Publication] = []
        self.on_publish: Callable[[], None] = lambda: None

    async def publish(self, publication: Publication) -> None:
        self.on_publish()
        self.published.append(publication)

    @property
    def letters(self) -> list[Publication]:
        """What went back to work queues."""
        return [each for each in self.published if not each.exchange]

    @property
    def results(self) -> list[str]:
        """The bodies of results."""
        return [each.body.decode() for each in self.published if each.exchange]


@dataclass
class ConsoleWorld:
    """Everything behind the pages, for a test to look at and to change."""

    people_file: Path
    letters: Iterable[KeptMessage] = ()
    accounts: Sequence[Account] = field(default_factory=lambda: [company(), company("globex")])
    history: MemoryHistory | None = field(default_factory=MemoryHistory)
    origin: str = ORIGIN

    def __post_init__(self) -> None:
        if not self.people_file.exists():
            self.people_file.write_text(PEOPLE)
        self.clock = SteppedClock()
        self.broker = PublishedHere()
        self.queue = MemoryDeadQueue(self.letters)
        self.opened = OpenedQueue(self.queue)
        self.ledger = MemoryLedger("console", self.clock)
        self.visitors = FakeVisitors()
        self.snapshots = MemorySnapshots(a_directory(self.accounts))
        self.workers, self.depths = FixedWorkers(), FixedDepths()
        self.metrics = ConsoleMetrics(CollectorRegistry())
        self.people = People(self.people_file)
        is_tls = self.origin.startswith("https:")
        self.sign_in = SessionSignIn(self.people, Sessions(28_800, 1_800, self.clock.monotonic), is_tls=is_tls)
        self.services = self._services(is_tls)

    def _services(self, is_tls: bool) -> Services:
        clock, mailboxes = self.clock, self.ledger.mailboxes
        office = Office(
            open_queue=self.opened,
            publish=self.broker.publish,
            topology=TOPOLOGY,
            source="/sendas",
            signatures=SIGNATURES,
            consents=self.ledger,
            retention=timedelta(days=14),
            clock=clock,
        )
        reporter = Reporter("/sendas", TOPOLOGY.results_exchange)
        limits = CheckLimits(read_back_s=0.05, read_again_s=0.01)
        check = MailboxCheck(self.visitors, TableNameServer(), DkimSignatures(), clock, limits)
        suspensions = Suspensions(mailboxes, reporter, self.broker.publish, clock)
        return Services(
            sign_in=self.sign_in,
            history=self.history,
            dead_letters=DeadLetterDesk(office),
            mailboxes=MailboxDesk(
                mailboxes, suspensions, self.snapshots, Limits(max_age_s=86_400, relay_connections=1), clock
            ),
            checks=MailboxChecks(check, clock, 4),
            snapshots=self.snapshots,
            workers=self.workers,
            depths=self.depths,
            record=ActRecord(self.metrics),
            metrics=self.metrics,
            clock=clock,
            is_tls=is_tls,
        )

    @property
    def app(self) -> Starlette:
        """The application, with passwords as its way in."""
        passwords = Passwords(self.people, self.clock.monotonic)
        door = Door(self.people, self.sign_in, Proxies(()), self.origin, passwords=passwords)
        return create_app(self.services, door.routes(), self.origin)

    async def suspend(self, key: MailboxKey = SUPPORT, words: str = "authentication failed") -> Suspension:
        """Have a mailbox suspended."""
        revision = Revision("0" * 32, 1)
        suspension = Suspension(
            key, revision, Reason.AUTH_FAILED, self.clock.now(), "support@acme.example", 535, "5.7.8", words
        )
        await self.ledger.mailboxes.suspend(suspension, OutboxMessage("a", b"{}"))
        return suspension


class Browser:
    """One person's browser. `page` is what it shows."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client
        self.page = httpx2.Response(204)

    async def get(self, address: str, **options: Any) -> httpx2.Response:
        """Go to an address."""
        self.page = await self.client.get(address, **options)
        return self.page

    async def post(self, address: str, fields: Mapping[str, Any] | None = None, **options: Any) -> httpx2.Response:
        """Send fields, with the token of the page that is shown."""
        self.page = await self.client.post(address, data={"csrf": self.token} | dict(fields or {}), **options)
        return self.page

    async def sign_in(self, name: str, password: str = PASSWORD, next_: str = "/") -> httpx2.Response:
        """Sign in by the form."""
        await self.get("/sign-in/", params={"next": next_})
        return await self.post("/sign-in/password", {"name": name, "password": password})

    @property
    def token(self) -> str:
        """The token in the page's forms."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.page.text)
        return unescape(found[1]) if found else ""

    @property
    def text(self) -> str:
        """The page as people read it, on one line."""
        without = re.sub(r"<(script|style)\b.*?</\1>", " ", self.page.text, flags=re.DOTALL)
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", without)).split())

    @property
    def path(self) -> str:
        """Where the browser is."""
        return self.page.url.raw_path.decode()


@asynccontextmanager
async def browser(world: ConsoleWorld, app: Starlette | None = None, **options: Any) -> AsyncIterator[Browser]:
    """A browser without a session."""
    transport = httpx2.ASGITransport(app or world.app, raise_app_exceptions=False, client=("192.0.2.50", 50_000))
    async with httpx2.AsyncClient(
        transport=transport, base_url=world.origin, follow_redirects=True, **options
    ) as client:
        yield Browser(client)


def letters(count: int, **headers: object) -> list[KeptMessage]:
    """Dead letters of the account acme, signed as workers sign."""
    return [a_dead_letter(f"evt-{number}", headers) for number in range(count)]

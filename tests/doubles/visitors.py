"""In-memory mail servers to visit: every step succeeds unless a test breaks it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address

from worker.delivery.ports import Route, SavedCopy
from worker.domain.hosts import IpAddress
from worker.domain.letter.model import ComposedLetter
from worker.domain.probe import ResolvedHost, SentFolderFacts, SmtpOffer, TlsFacts
from worker.domain.snapshot.model import Auth, ImapServer
from worker.domain.transmission import DeliveryFailure, Reply, Transmission
from worker.domain.vocabulary import CopyOutcome

ACCEPTED = Reply(250, "2.0.0", "ok")


@dataclass
class FakeVisitors:
    """Implements `Visitors`; `troubles` by step name, such as `smtp.sign_in`. `steps` records the steps taken."""

    troubles: dict[str, DeliveryFailure] = field(default_factory=dict)
    valid_until: datetime = datetime(2027, 11, 23, tzinfo=UTC)
    addresses: tuple[IpAddress, ...] = (ip_address("192.0.2.10"),)
    folder: SentFolderFacts | None = field(default_factory=lambda: SentFolderFacts("Sent", may_append=True))
    inbox: dict[str, bytes] = field(default_factory=dict)
    transmission: Transmission | None = None
    steps: list[str] = field(default_factory=list)
    letters: list[ComposedLetter] = field(default_factory=list)
    trusted: list[bool] = field(default_factory=list)

    @asynccontextmanager
    async def smtp(self, route: Route, *, is_trusted: bool) -> AsyncIterator["FakeSmtpVisit"]:
        self.trusted.append(is_trusted)
        yield FakeSmtpVisit(self)

    @asynccontextmanager
    async def imap(
        self, account_id: str, server: ImapServer, auth: Auth, *, is_trusted: bool
    ) -> AsyncIterator["FakeImapVisit"]:
        self.trusted.append(is_trusted)
        yield FakeImapVisit(self)

    def step(self, name: str) -> DeliveryFailure | None:
        """Record a step; returns its trouble, if any."""
        self.steps.append(name)
        return self.troubles.get(name)


@dataclass
class FakeSmtpVisit:
    """Implements `SmtpVisit`."""

    world: FakeVisitors

    async def resolve(self) -> ResolvedHost | DeliveryFailure:
        return self.world.step("smtp.resolve") or ResolvedHost(self.world.addresses)

    async def connect(self) -> DeliveryFailure | None:
        return self.world.step("smtp.connect")

    async def secure(self) -> TlsFacts | DeliveryFailure:
        return self.world.step("smtp.secure") or TlsFacts("TLSv1.3", self.world.valid_until)

    async def greet(self) -> str | DeliveryFailure:
        return self.world.step("smtp.greet") or "mail.acme.example ESMTP"

    def offer(self) -> SmtpOffer:
        return SmtpOffer(("size",), ("plain",), 1_000)

    async def sign_in(self) -> DeliveryFailure | None:
        return self.world.step("smtp.sign_in")

    async def propose(self, address: str) -> Reply | DeliveryFailure:
        return self.world.step("smtp.propose") or ACCEPTED

    async def send(self, letter: ComposedLetter) -> Transmission:
        self.world.letters.append(letter)
        return self.world.transmission or Transmission(accepted=dict.fromkeys(letter.envelope_to, ACCEPTED))


@dataclass
class FakeImapVisit:
    """Implements `ImapVisit`."""

    world: FakeVisitors

    async def resolve(self) -> ResolvedHost | DeliveryFailure:
        return self.world.step("imap.resolve") or ResolvedHost((ip_address("192.0.2.11"),))

    async def connect(self) -> DeliveryFailure | None:
        return self.world.step("imap.connect")

    async def secure(self) -> TlsFacts | DeliveryFailure | None:
        return self.world.step("imap.secure") or TlsFacts("TLSv1.2", self.world.valid_until)

    async def greet(self) -> str | DeliveryFailure:
        return self.world.step("imap.greet") or "OK ready"

    async def sign_in(self) -> DeliveryFailure | None:
        return self.world.step("imap.sign_in")

    async def sent_folder(self, named: str | None, message_id: str) -> SentFolderFacts | DeliveryFailure | None:
        return self.world.step("imap.sent_folder") or self.world.folder

    async def save(self, named: str | None, letter: ComposedLetter) -> SavedCopy:
        trouble = self.world.step("imap.save")
        return SavedCopy(CopyOutcome.FAILED if trouble else CopyOutcome.SAVED, named or "Sent", trouble=trouble)

    async def received(self, message_id: str) -> bytes | DeliveryFailure | None:
        return self.world.step("imap.received") or self.world.inbox.get(message_id)

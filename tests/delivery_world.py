"""The whole delivery over doubles, with a broker and a clock: an event goes in, and its journey can be watched."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.builders import a_mailbox, an_account
from tests.doubles.broker import MemoryBroker
from tests.doubles.clock import SteppedClock
from tests.doubles.directory import MemoryDirectory, a_directory
from tests.doubles.files import MemoryFileStore
from tests.doubles.ledger import MemoryLedger, MemoryStore
from tests.doubles.ledger_mailboxes import MemoryMailboxStates
from tests.doubles.mail_transport import FakeMailTransport
from tests.doubles.mailbox_memory import MemorySentHabits
from tests.doubles.observer import RecordingObserver
from tests.doubles.sent_folder import FakeSentFolder
from worker.delivery.ledger import Claim, HandOver, Record
from worker.delivery.limits import CopyLimits, Limits
from worker.delivery.mailboxes.state import OutboxMessage, Suspension
from worker.delivery.messages import Arrival, Publication
from worker.delivery.services import Rules, Services
from worker.delivery.wiring import Delivery, build_delivery
from worker.domain.events.cloudevents import STRUCTURED
from worker.domain.events.models import LetterEvent
from worker.domain.recipient_limit import RecipientLimit
from worker.domain.results.events import AnyResultEvent
from worker.domain.snapshot.model import Account
from worker.domain.topology import Topology
from worker.domain.transmission import DeliveryFailure, FailureKind, Reply
from worker.domain.vocabulary import Phase, UncertainPolicy
from worker.errors import Unavailable

ResultT = TypeVar("ResultT")

TOPOLOGY = Topology()
UNKNOWN_SENDER_WAIT_S = 600.0
MAX_AGE_S = 24 * 3_600.0
IMAP = {"host": "imap.acme.example", "port": 993, "security": "tls"}

GREYLISTED = DeliveryFailure(Phase.RCPT, FailureKind.REPLY, Reply(450, "4.7.1", "greylisted, come back later"))
BUSY = DeliveryFailure(Phase.DATA, FailureKind.REPLY, Reply(451, "4.3.0", "service unavailable"))
UNKNOWN_RECIPIENT = DeliveryFailure(Phase.RCPT, FailureKind.REPLY, Reply(550, "5.1.1", "no such user"))
WRONG_PASSWORD = DeliveryFailure(Phase.AUTH, FailureKind.REPLY, Reply(535, "5.7.8", "authentication failed"))
TOO_FAST = DeliveryFailure(Phase.MAIL, FailureKind.REPLY, Reply(450, "4.7.0", "too fast, slow down"))
UNREACHABLE = DeliveryFailure(Phase.CONNECT, FailureKind.CONNECT, detail="connection refused")


class FixedSnapshot:
    """A `SnapshotService` whose next directory comes with a refresh."""

    def __init__(self, directory: MemoryDirectory) -> None:
        self.directory = directory
        self.next: MemoryDirectory | None = None
        self.refreshes = 0

    async def refresh(self) -> None:
        self.refreshes += 1
        if self.next is not None:
            self.directory, self.next = self.next, None


class FlakyLedger(MemoryLedger):
    """A ledger that is away for as many calls as told, by method; `commits_anyway` are done all the same.

    Claims of `failures_of_recipients` (positions) fail as long as these stand there.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.failures: dict[str, int] = {}
        self.commits_anyway: set[str] = set()
        self.failures_of_recipients: set[int] = set()
        self.mailboxes.suspend = self._suspend  # type: ignore[method-assign]  # so that it is away too when told

    def _is_away(self, method: str) -> bool:
        left = self.failures.get(method, 0)
        self.failures[method] = max(left - 1, 0)
        return left > 0

    async def claim(
        self, event_key: str, account_id: str, recipients: Sequence[int], limit: RecipientLimit | None = None
    ) -> dict[int, Claim]:
        if self._is_away("claim") or not self.failures_of_recipients.isdisjoint(recipients):
            raise Unavailable("the ledger is away")
        return await super().claim(event_key, account_id, recipients, limit)

    async def hand_over(self, event_key: str, recipients: Sequence[int], hand_over: HandOver) -> None:
        is_away = self._is_away("hand_over")
        if not is_away or "hand_over" in self.commits_anyway:
            await super().hand_over(event_key, recipients, hand_over)
        if is_away:
            raise Unavailable("the ledger is away")

    async def record(self, event_key: str, records: Sequence[Record]) -> None:
        if self._is_away("record"):
            raise Unavailable("the ledger is away")
        await super().record(event_key, records)

    async def release(self, event_key: str, recipients: Sequence[int]) -> None:
        if self._is_away("release"):
            raise Unavailable("the ledger is away")
        await super().release(event_key, recipients)

    async def _suspend(self, suspension: Suspension, announcement: OutboxMessage) -> Suspension | None:
        if self._is_away("suspend"):
            raise Unavailable("the ledger is away")
        return await MemoryMailboxStates.suspend(self.mailboxes, suspension, announcement)

    async def abandon(self, event_key: str, recipients: Sequence[int]) -> None:
        if self._is_away("abandon"):
            raise Unavailable("the ledger is away")
        await super().abandon(event_key, recipients)


@dataclass
class DeliveryWorld:
    """A worker and everything outside of it; `restart` is a crash and a new process over the same ledger."""

    accounts: Sequence[Account] = ()
    policy: UncertainPolicy = UncertainPolicy.CHECK
    files: dict[str, bytes | None] = field(default_factory=dict)
    max_copy_bytes: int = 1_000_000

    def __post_init__(self) -> None:
        self.clock = SteppedClock()
        accounts = self.accounts or [an_account(mailboxes=[a_mailbox(sent_copy={"imap": IMAP})])]
        self.snapshot = FixedSnapshot(a_directory(accounts))
        self.transport = FakeMailTransport()
        self.sent_folder = FakeSentFolder()
        self.sent_habits = MemorySentHabits(self.clock)
        self.file_store = MemoryFileStore(self.files)
        self.observer = RecordingObserver()
        self.broker = MemoryBroker(TOPOLOGY, self.clock)
        self._store = MemoryStore()
        self.ledger = FlakyLedger("worker-1", self.clock, store=self._store)
        self._start()

    def _start(self) -> None:
        self.delivery = self.another_worker(self.ledger)
        self.broker.attach(TOPOLOGY.outbound, self.delivery.pipeline.handle)
        self.broker.attach(TOPOLOGY.backlog, self.delivery.rescheduler.handle)
        self.broker.attach(TOPOLOGY.sent_copy, self.delivery.copies.handle)

    def another_ledger(self, owner: str = "worker-2") -> FlakyLedger:
        """The ledger as another process sees it."""
        return FlakyLedger(owner, self.clock, store=self._store)

    async def _publish(self, publication: Publication) -> None:
        self.broker.publish([publication])

    def another_worker(self, ledger: MemoryLedger) -> Delivery:
        """The delivery of a process with this ledger; everything else is shared."""
        return build_delivery(self.services(ledger))

    def services(self, ledger: MemoryLedger) -> Services:
        """What is outside of a process with this ledger."""
        return Services(
            rules=self.rules,
            snapshot=self.snapshot,
            ledger=ledger,
            mailboxes=ledger.mailboxes,
            transport=self.transport,
            sent_folder=self.sent_folder,
            files=self.file_store,
            clock=self.clock,
            observer=self.observer,
            publish=self._publish,
            sent_habits=self.sent_habits,
        )

    @property
    def rules(self) -> Rules:
        """How every process behaves."""
        return Rules(
            topology=TOPOLOGY,
            source="/sendas",
            limits=Limits(MAX_AGE_S, relay_connections=10),
            copy_limits=CopyLimits(MAX_AGE_S, self.max_copy_bytes),
            uncertain_policy=self.policy,
            unknown_sender_wait_s=UNKNOWN_SENDER_WAIT_S,
            ledger_retry_s=0,
        )

    async def restart(self) -> None:
        """The process has gone, and another one begins."""
        await self.ledger.close()
        self.ledger = self.another_ledger("worker-again")
        self._start()

    def serve(self, *accounts: Account, version: int = 1843) -> None:
        """From now on the snapshot is of these accounts."""
        self.snapshot.directory = a_directory(accounts, version=version)

    def publish(self, event: LetterEvent, **headers: object) -> None:
        """The product publishes an event."""
        self.broker.put(an_arrival(event, **headers))

    async def run(self, until_s: float | None = None) -> None:
        """Let everything happen that will happen by itself, up to a moment of the clock if told."""
        await self.broker.run(until_s=until_s)

    async def deliver(self, event: LetterEvent) -> None:
        """Publish an event and let everything happen."""
        self.publish(event)
        await self.run()

    @property
    def types(self) -> list[str]:
        """The types of all results, in their order."""
        return [result.type.value for result in self.broker.results]

    def results(self, of: type[ResultT]) -> list[ResultT]:
        """The results of one type."""
        return [result for result in self.broker.results if isinstance(result, of)]

    @property
    def delivered_to(self) -> list[str]:
        """Addresses whose server accepted a letter, once for each time."""
        return [address for delivered in self.transport.delivered for address in delivered.recipients]


def addresses(result: AnyResultEvent) -> list[str]:
    """Whom a result is about."""
    return [recipient.address for recipient in result.data.recipients]  # type: ignore[union-attr]  # of results of mail


def an_arrival(event: LetterEvent, **headers: object) -> Arrival:
    """An event as it comes out of the work queue, in structured mode; `sendas_attempt=1` sets `sendas-attempt`."""
    document = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type.value,
        "time": event.time.isoformat(),
        "datacontenttype": "application/json",
        "data": event.data.model_dump(mode="json"),
    }
    body = json.dumps(document, ensure_ascii=False).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Arrival(TOPOLOGY.outbound, body, named, STRUCTURED)

"""A copy that could not be saved is tried again, and no two workers save one at the same time."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pytest

from tests.builders import a_mailbox, an_account
from tests.doubles.clock import SteppedClock
from tests.doubles.directory import MemoryDirectory, a_directory
from tests.doubles.files import MemoryFileStore
from tests.doubles.ledger import MemoryLedger, MemoryStore
from tests.doubles.mail_transport import FakeMailTransport
from tests.doubles.observer import RecordingObserver
from tests.doubles.sent_folder import FakeSentFolder
from worker.delivery.ledger import Claim
from worker.delivery.limits import CopyLimits, Limits
from worker.delivery.mailboxes.suspensions import Suspensions
from worker.delivery.mailboxes.sync import NewerSettings
from worker.delivery.messages import Arrival, Publication
from worker.delivery.ports import CopyTarget, SavedCopy
from worker.delivery.results import Reporter
from worker.delivery.sent_copy.imap_sign_in import ImapSignIn
from worker.delivery.sent_copy.jobs import JOB, CopyJob
from worker.delivery.sent_copy.stage import Copies
from worker.delivery.services import Rules, Services
from worker.domain.identity import copy_key
from worker.domain.recipient_limit import RecipientLimit
from worker.domain.topology import Topology
from worker.domain.transmission import DeliveryFailure, FailureKind
from worker.domain.vocabulary import Phase, UncertainPolicy
from worker.errors import Unavailable

TOPOLOGY = Topology()
MESSAGE_ID = "<1@acme.example>"
IMAP = {"host": "imap.acme.example", "port": 993, "security": "tls"}


@dataclass
class FixedSnapshot:
    """A snapshot that never changes."""

    directory: MemoryDirectory

    async def refresh(self) -> None: ...


MAILBOX = a_mailbox(sent_copy={"mode": "always", "imap": IMAP})
CLOCK = SteppedClock()
JOB_OF_LETTER = CopyJob(
    account_id="acme",
    mailbox_id=MAILBOX.id,
    event_key="0" * 32,
    event_id="evt-1",
    event_source="/product/comments",
    event_type="comment.created",
    task_id="4711",
    comment_id="c-99",
    message_id=MESSAGE_ID,
    recipients=(0,),
    date=CLOCK.now(),
    sent_at=CLOCK.now(),
)
ARRIVAL = Arrival(TOPOLOGY.sent_copy, b"letter", {JOB: JOB_OF_LETTER.model_dump_json()})


def the_copies(folder: FakeSentFolder, ledger: MemoryLedger, snapshot: FixedSnapshot | None = None) -> Copies:
    """The copying stage of one worker."""
    reporter = Reporter("/sendas", TOPOLOGY.results_exchange)
    snapshot = snapshot or FixedSnapshot(a_directory([an_account(mailboxes=[MAILBOX])]))
    suspensions = Suspensions(ledger.mailboxes, reporter, publish_nothing, CLOCK)
    services = Services(
        rules=Rules(
            topology=TOPOLOGY,
            source="/sendas",
            limits=Limits(max_age_s=3_600, relay_connections=1),
            copy_limits=CopyLimits(max_age_s=3_600, max_bytes=1_000_000),
            uncertain_policy=UncertainPolicy.CHECK,
            unknown_sender_wait_s=600,
        ),
        snapshot=snapshot,
        ledger=ledger,
        mailboxes=ledger.mailboxes,
        transport=FakeMailTransport(),
        sent_folder=folder,
        files=MemoryFileStore({}),
        clock=CLOCK,
        observer=RecordingObserver(),
        publish=publish_nothing,
    )
    return Copies(services, ImapSignIn(ledger.mailboxes, suspensions, NewerSettings(snapshot, CLOCK), CLOCK))


async def publish_nothing(publication: Publication) -> None:
    raise AssertionError(f"nothing is told of a copy's mailbox: {publication.type}")


async def test_if_a_copy_cannot_be_saved_then_the_message_that_comes_back_is_still_its_job() -> None:
    folder = FakeSentFolder()
    copies = the_copies(folder, MemoryLedger("one", CLOCK))
    folder.troubles = [DeliveryFailure(Phase.DATA, FailureKind.DISCONNECTED)]

    [told, again] = await copies.handle(ARRIVAL)
    [result] = await copies.handle(Arrival(TOPOLOGY.sent_copy, again.body, again.headers))

    assert told.type == "sent_copy.deferred"
    assert again.routing_key == TOPOLOGY.delay(TOPOLOGY.sent_copy, 30)
    assert result.type == "sent_copy.saved"
    assert [copy.message_id for copy in folder.copies(MAILBOX.id)] == [MESSAGE_ID]


async def test_if_another_worker_is_saving_the_same_copy_then_this_one_looks_later() -> None:
    folder, store = FakeSentFolder(), MemoryStore()
    other, mine = (MemoryLedger(name, CLOCK, store=store) for name in ("other", "mine"))
    copies = the_copies(folder, mine)
    await other.claim(copy_key(MESSAGE_ID), "acme", [0])

    [again] = await copies.handle(ARRIVAL)
    assert again.routing_key == TOPOLOGY.delay(TOPOLOGY.sent_copy, 30)
    assert not folder.copies(MAILBOX.id)

    await other.release(copy_key(MESSAGE_ID), [0])
    [result] = await copies.handle(Arrival(TOPOLOGY.sent_copy, again.body, again.headers))
    assert result.type == "sent_copy.saved"


async def test_if_this_worker_is_saving_the_same_copy_through_an_older_lane_then_it_looks_later() -> None:
    """The job came again, and meanwhile somebody changed the mailbox's IMAP settings."""

    class SlowFolder(FakeSentFolder):
        looked, may_append = asyncio.Event(), asyncio.Event()

        async def save(
            self,
            target: CopyTarget,
            message_id: str,
            date: datetime,
            copy: bytes,
            *,
            also_known_as: str | None = None,
        ) -> SavedCopy:
            self.looked.set()
            await self.may_append.wait()
            return await super().save(target, message_id, date, copy, also_known_as=also_known_as)

    folder, snapshot = SlowFolder(), FixedSnapshot(a_directory([an_account(mailboxes=[MAILBOX])]))
    copies = the_copies(folder, MemoryLedger("one", CLOCK), snapshot)
    first = asyncio.create_task(copies.handle(ARRIVAL))
    await folder.looked.wait()
    changed = a_mailbox(sent_copy={"imap": {**IMAP, "port": 1993}})
    snapshot.directory = a_directory([an_account(mailboxes=[changed])])

    [again] = await asyncio.wait_for(copies.handle(ARRIVAL), 5)
    folder.may_append.set()
    [result] = await first

    assert again.routing_key == TOPOLOGY.delay(TOPOLOGY.sent_copy, 30)
    assert result.type == "sent_copy.saved"


async def test_if_a_copy_was_dealt_with_then_nothing_of_it_stays_in_the_ledger() -> None:
    store = MemoryStore()
    copies = the_copies(FakeSentFolder(), MemoryLedger("one", CLOCK, store=store))

    await copies.handle(ARRIVAL)

    assert not any(store.events.values())


async def test_while_the_ledger_is_away_the_job_is_kept_and_not_buried() -> None:
    """If no claim can be had, then the consumer is told so, and tries the same message again later."""

    class AwayLedger(MemoryLedger):
        async def claim(
            self, event_key: str, account_id: str, recipients: Sequence[int], limit: RecipientLimit | None = None
        ) -> dict[int, Claim]:
            raise Unavailable("the ledger is away")

    with pytest.raises(Unavailable):
        await the_copies(FakeSentFolder(), AwayLedger("one", CLOCK)).handle(ARRIVAL)

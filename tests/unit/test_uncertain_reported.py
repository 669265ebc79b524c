"""That a letter may have been accepted is told before it is sent again, whatever crashes afterwards."""

import json

import pytest

from tests.builders import NOON, SOURCE, a_mailbox, a_recipient, an_account
from tests.doubles.clock import SteppedClock
from tests.doubles.directory import a_directory
from tests.doubles.files import MemoryFileStore
from tests.doubles.ledger import MemoryLedger
from tests.doubles.mail_transport import FakeMailTransport
from tests.doubles.observer import RecordingObserver
from tests.doubles.sent_folder import FakeSentFolder
from tests.unit.test_copy_retries import FixedSnapshot
from worker.delivery.ledger import HandOver, Uncertain
from worker.delivery.limits import CopyLimits, Limits
from worker.delivery.messages import Arrival, Publication, Publish
from worker.delivery.services import Rules, Services
from worker.delivery.wiring import Delivery, build_delivery
from worker.domain.identity import event_key
from worker.domain.topology import Topology
from worker.domain.vocabulary import UncertainPolicy

TOPOLOGY = Topology()
KEY = event_key(SOURCE, "evt-1")
EVENT = {
    "specversion": "1.0",
    "id": "evt-1",
    "source": SOURCE,
    "type": "comment.created",
    "time": NOON.isoformat(),
    "data": {
        "account_id": "acme",
        "author": {"employee_id": "e-ivan"},
        "task": {"id": "4711", "title": "Ремонт"},
        "comment": {"id": "c-99", "html": "<p>Завтра.</p>", "created_at": NOON.isoformat()},
        "recipients": [a_recipient()],
    },
}
ARRIVAL = Arrival(TOPOLOGY.outbound, json.dumps(EVENT).encode(), {}, "application/cloudevents+json")
CLOCK = SteppedClock()


class Crash(BaseException):
    """The process ends here."""


@pytest.fixture
async def ledger() -> MemoryLedger:
    """A ledger in which somebody who died has handed the letter over."""
    ledger = MemoryLedger("one", CLOCK)
    await ledger.claim(KEY, "acme", [0])
    await ledger.hand_over(KEY, [0], HandOver("acme", "mb-support", "<1@acme.example>", 1, CLOCK.now()))
    await ledger.abandon(KEY, [0])
    return ledger


def a_delivery(ledger: MemoryLedger, transport: FakeMailTransport, publish: Publish) -> Delivery:
    """The delivery of one mailbox whose provider does not save to Sent."""
    rules = Rules(
        topology=TOPOLOGY,
        source="/sendas",
        limits=Limits(max_age_s=86_400, relay_connections=1),
        copy_limits=CopyLimits(max_age_s=86_400, max_bytes=1_000_000),
        uncertain_policy=UncertainPolicy.CHECK,
        unknown_sender_wait_s=600,
    )
    services = Services(
        rules=rules,
        snapshot=FixedSnapshot(a_directory([an_account(mailboxes=[a_mailbox()])])),
        ledger=ledger,
        mailboxes=ledger.mailboxes,
        transport=transport,
        sent_folder=FakeSentFolder(),
        files=MemoryFileStore({}),
        clock=CLOCK,
        observer=RecordingObserver(),
        publish=publish,
    )
    return build_delivery(services)


async def test_if_a_letter_is_sent_again_then_the_doubt_was_published_before(ledger: MemoryLedger) -> None:
    transport = FakeMailTransport()
    told: list[tuple[str | None, int]] = []

    async def publish(publication: Publication) -> None:
        told.append((publication.type, len(transport.attempts)))

    await a_delivery(ledger, transport, publish).pipeline.handle(ARRIVAL)

    assert told == [("mail.uncertain", 0)]
    assert len(transport.delivered) == 1


async def test_if_the_worker_dies_before_the_doubt_is_published_then_the_ledger_still_knows_it(
    ledger: MemoryLedger,
) -> None:
    transport = FakeMailTransport()

    async def publish(publication: Publication) -> None:
        raise Crash

    with pytest.raises(Crash):
        await a_delivery(ledger, transport, publish).pipeline.handle(ARRIVAL)

    assert not transport.attempts
    assert isinstance((await ledger.claim(KEY, "acme", [0]))[0], Uncertain)

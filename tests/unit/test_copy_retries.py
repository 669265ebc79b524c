"""A copy that could not be saved is tried again, by a message that still says what is to be done."""

from dataclasses import dataclass
from typing import Any

from tests.builders import a_mailbox, an_account
from tests.doubles.clock import SteppedClock
from tests.doubles.directory import MemoryDirectory, a_directory
from tests.doubles.sent_folder import FakeSentFolder
from worker.delivery.copies import Copies, CopyLimits
from worker.delivery.copy_jobs import JOB, CopyJob
from worker.delivery.messages import Arrival
from worker.delivery.reporting import Reporter
from worker.domain.topology import Topology
from worker.domain.transmission import Fault, Trouble
from worker.domain.vocabulary import Phase

TOPOLOGY = Topology()
MESSAGE_ID = "<1@acme.example>"
IMAP = {"host": "imap.acme.example", "port": 993, "security": "tls"}


@dataclass
class FixedSnapshot:
    """A snapshot that never changes."""

    directory: MemoryDirectory

    async def refresh(self) -> None: ...


class Unobserved:
    """An observer that does not look."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


async def test_if_a_copy_cannot_be_saved_then_the_message_that_comes_back_is_still_its_job() -> None:
    clock, folder = SteppedClock(), FakeSentFolder()
    mailbox = a_mailbox(sent_copy={"mode": "always", "imap": IMAP})
    copies = Copies(
        snapshot=FixedSnapshot(a_directory([an_account(mailboxes=[mailbox])])),
        sent_folder=folder,
        reporter=Reporter("/sendas", TOPOLOGY.results_exchange),
        topology=TOPOLOGY,
        clock=clock,
        observer=Unobserved(),
        limits=CopyLimits(max_age_s=3_600, max_bytes=1_000_000),
    )
    job = CopyJob(
        account_id="acme",
        mailbox_id=mailbox.id,
        event_key="0" * 32,
        event_id="evt-1",
        event_source="/product/comments",
        event_type="comment.created",
        task_id="4711",
        comment_id="c-99",
        message_id=MESSAGE_ID,
        recipients=(0,),
        date=clock.now(),
        sent_at=clock.now(),
    )
    folder.troubles = [Trouble(Phase.DATA, Fault.DISCONNECTED)]

    [again] = await copies.handle(Arrival(TOPOLOGY.sent_copy, b"letter", {JOB: job.model_dump_json()}))
    [result] = await copies.handle(Arrival(TOPOLOGY.sent_copy, again.body, again.headers))

    assert again.routing_key == TOPOLOGY.delay(TOPOLOGY.sent_copy, 30)
    assert result.type == "sent_copy.saved"
    assert [copy.message_id for copy in folder.copies(mailbox.id)] == [MESSAGE_ID]

"""Everything outside that the delivery uses, and its rules, in one record."""

from dataclasses import dataclass, field

from worker.delivery.instrumentation import NO_TRACING, Observer, Tracer
from worker.delivery.ledger import Ledger
from worker.delivery.limits import CopyLimits, Limits
from worker.delivery.mailboxes.state import MailboxStates
from worker.delivery.messages import Publish
from worker.delivery.ports import Clock, FileStore, MailTransport, SentFolder, SnapshotService
from worker.delivery.results import Reporter
from worker.delivery.sent_copy.autosave_detection import NothingLearned, SentHabits
from worker.domain.topology import Topology
from worker.domain.vocabulary import UncertainPolicy


@dataclass(frozen=True, slots=True)
class Rules:
    """How the delivery behaves."""

    topology: Topology
    source: str
    limits: Limits
    copy_limits: CopyLimits
    uncertain_policy: UncertainPolicy
    unknown_sender_wait_s: float
    ledger_retry_s: float = 1.0

    @property
    def reporter(self) -> Reporter:
        """Creates the builder of this installation's results."""
        return Reporter(self.source, self.topology.results_exchange)


@dataclass(frozen=True, slots=True)
class Services:
    """Everything outside that the delivery uses, and its rules."""

    rules: Rules
    snapshot: SnapshotService
    ledger: Ledger
    mailboxes: MailboxStates
    transport: MailTransport
    sent_folder: SentFolder
    files: FileStore
    clock: Clock
    observer: Observer
    publish: Publish
    sent_habits: SentHabits = field(default_factory=NothingLearned)
    tracer: Tracer = NO_TRACING

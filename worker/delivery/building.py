"""Puts the parts of the delivery together, over whatever implements its ports."""

from dataclasses import dataclass, field

from worker.delivery.attachments import Attachments
from worker.delivery.burials import Burials
from worker.delivery.claiming import Claims
from worker.delivery.composition import Composer
from worker.delivery.copies import Copies, CopyLimits
from worker.delivery.doubts import Doubts
from worker.delivery.imap_sign_in import ImapSignIn
from worker.delivery.in_hand import InHand
from worker.delivery.lanes import Lanes
from worker.delivery.ledger import Ledger
from worker.delivery.letter_delivery import LetterDelivery
from worker.delivery.limits import Limits
from worker.delivery.mailbox_keeper import MailboxKeeper
from worker.delivery.mailbox_states import MailboxStates
from worker.delivery.messages import Publish
from worker.delivery.newer_settings import NewerSettings
from worker.delivery.observing import Observer
from worker.delivery.outcomes import Outcomes
from worker.delivery.pipeline import Pipeline
from worker.delivery.places import Places
from worker.delivery.ports import Clock, FileStore, MailTransport, SentFolder, SnapshotService
from worker.delivery.recording import Recorder
from worker.delivery.repeating import Repeats
from worker.delivery.reporting import Reporter
from worker.delivery.sent_habits import NothingLearned, SentHabits
from worker.delivery.shares import Shares
from worker.delivery.suspensions import Suspensions
from worker.delivery.tracing import NO_TRACING, Tracer
from worker.delivery.turns import Turns
from worker.delivery.unfinished import Unfinished
from worker.delivery.ways import Common, Ways
from worker.domain.topology import Topology
from worker.domain.vocabulary import UncertainPolicy


@dataclass(frozen=True, slots=True)
class World:
    """Everything outside that the delivery works with."""

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


@dataclass(frozen=True, slots=True)
class Rules:
    """How the delivery is to behave."""

    topology: Topology
    source: str
    limits: Limits
    copy_limits: CopyLimits
    uncertain_policy: UncertainPolicy
    unknown_sender_wait_s: float
    ledger_retry_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """The handlers of the three queues, what keeps workers at one, and the rest for those who want numbers."""

    pipeline: Pipeline
    turns: Turns
    copies: Copies
    keeper: MailboxKeeper
    lanes: Lanes
    suspensions: Suspensions
    unfinished: Unfinished


def build_delivery(world: World, rules: Rules) -> Delivery:
    """The delivery over these ports."""
    reporter = Reporter(rules.source, rules.topology.results_exchange)
    recorder = Recorder(world.ledger, reporter, rules.ledger_retry_s)
    attachments = Attachments(world.files, rules.limits.files_timeout_s)
    composer = Composer(attachments)
    in_hand = InHand(Places(rules.limits.in_hand, rules.limits.shares), world.clock)
    lanes = Lanes(world.clock)
    unfinished = Unfinished()
    suspensions = Suspensions(world.mailboxes, reporter, world.publish, world.clock, rules.ledger_retry_s)
    shares = Shares(world.mailboxes, world.transport, world.clock)
    newer_settings = NewerSettings(world.snapshot, world.clock)
    sign_in = ImapSignIn(world.mailboxes, suspensions, newer_settings, world.clock)
    common = Common(world.mailboxes, shares, suspensions, world.snapshot, newer_settings, world.clock)
    ways = Ways(common, lanes, in_hand, rules.limits)
    copies = Copies(
        snapshot=world.snapshot,
        ledger=world.ledger,
        sent_folder=world.sent_folder,
        habits=world.sent_habits,
        reporter=reporter,
        topology=rules.topology,
        clock=world.clock,
        observer=world.observer,
        tracer=world.tracer,
        limits=rules.copy_limits,
        in_hand=InHand(Places(rules.copy_limits.in_hand, rules.limits.shares), world.clock),
        sign_in=sign_in,
    )
    doubts = Doubts(
        policy=rules.uncertain_policy,
        ledger=world.ledger,
        recorder=recorder,
        sent_folder=world.sent_folder,
        habits=world.sent_habits,
        reporter=reporter,
        topology=rules.topology,
        clock=world.clock,
        observer=world.observer,
        publish=world.publish,
        sign_in=sign_in,
        copies=copies,
    )
    outcomes = Outcomes(
        recorder=recorder,
        doubts=doubts,
        copies=copies,
        reporter=reporter,
        topology=rules.topology,
        clock=world.clock,
        observer=world.observer,
    )
    letters = LetterDelivery(
        ledger=world.ledger,
        transport=world.transport,
        ways=ways,
        claims=Claims(
            world.ledger,
            doubts,
            Repeats(reporter, composer, copies, doubts, world.observer),
            rules.topology,
            rules.limits.recipient_limit,
        ),
        in_hand=in_hand,
        attachments=attachments,
        composer=composer,
        recorder=recorder,
        outcomes=outcomes,
        topology=rules.topology,
        clock=world.clock,
        observer=world.observer,
        limits=rules.limits,
    )
    pipeline = Pipeline(
        snapshot=world.snapshot,
        letters=letters,
        burials=Burials(reporter, rules.topology, world.clock, world.observer),
        outcomes=outcomes,
        reporter=reporter,
        topology=rules.topology,
        clock=world.clock,
        observer=world.observer,
        tracer=world.tracer,
        unfinished=unfinished,
        unknown_sender_wait_s=rules.unknown_sender_wait_s,
    )
    turns = Turns(
        ways=ways,
        topology=rules.topology,
        clock=world.clock,
        observer=world.observer,
        unfinished=unfinished,
        max_age_s=rules.limits.max_age_s,
    )
    keeper = MailboxKeeper(world.mailboxes, lanes, shares, suspensions, world.snapshot, world.clock)
    return Delivery(pipeline, turns, copies, keeper, lanes, suspensions, unfinished)

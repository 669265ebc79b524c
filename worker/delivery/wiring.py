"""Assembles the delivery from whatever implements its ports."""

from dataclasses import dataclass

from worker.delivery.claims import Claims
from worker.delivery.compose import Attachments, Composer
from worker.delivery.dead_letters import DeadLetters
from worker.delivery.instrumentation import Unfinished
from worker.delivery.letter import LetterDelivery, Steps
from worker.delivery.mailboxes.connection_leases import ConnectionLeases
from worker.delivery.mailboxes.gate import Common, MailboxGate
from worker.delivery.mailboxes.lanes import Lanes
from worker.delivery.mailboxes.rescheduler import Rescheduler
from worker.delivery.mailboxes.suspensions import Suspensions
from worker.delivery.mailboxes.sync import MailboxSync, NewerSettings
from worker.delivery.outcomes import Outcomes
from worker.delivery.pipeline import Pipeline
from worker.delivery.replay import Replay
from worker.delivery.results import Recorder
from worker.delivery.sent_copy.imap_sign_in import ImapSignIn
from worker.delivery.sent_copy.stage import Copies
from worker.delivery.services import Services
from worker.delivery.uncertain import UncertainDeliveries


@dataclass(frozen=True, slots=True)
class Delivery:
    """The handlers of the three queues, the polling of shared state, and the sources of metrics."""

    pipeline: Pipeline
    rescheduler: Rescheduler
    copies: Copies
    sync: MailboxSync
    lanes: Lanes
    suspensions: Suspensions
    unfinished: Unfinished


def build_delivery(services: Services) -> Delivery:
    """Build the delivery on these services."""
    rules, clock, states, snapshot = services.rules, services.clock, services.mailboxes, services.snapshot
    lanes, unfinished = Lanes(clock), Unfinished()
    suspensions = Suspensions(states, rules.reporter, services.publish, clock, rules.ledger_retry_s)
    shares = ConnectionLeases(states, services.transport, clock)
    newer_settings = NewerSettings(snapshot, clock)
    sign_in = ImapSignIn(states, suspensions, newer_settings, clock)
    common = Common(states, shares, suspensions, snapshot, newer_settings, clock, services.observer)
    gate = MailboxGate(common, lanes, rules.limits)
    attachments = Attachments(services.files, rules.limits.files_timeout_s)
    composer = Composer(attachments)
    recorder = Recorder(services.ledger, rules.reporter, rules.ledger_retry_s)
    copies = Copies(services, sign_in)
    uncertain = UncertainDeliveries(services, recorder, sign_in, copies)
    outcomes = Outcomes(services, recorder, uncertain, copies)
    steps = Steps(
        gate=gate,
        attachments=attachments,
        claims=Claims(services.ledger, rules.limits.recipient_limit),
        replay=Replay(services, composer, copies, uncertain),
        uncertain=uncertain,
        composer=composer,
        recorder=recorder,
        outcomes=outcomes,
    )
    letters = LetterDelivery(services, steps)
    pipeline = Pipeline(services, letters, outcomes, DeadLetters(services), unfinished)
    sync = MailboxSync(states, lanes, shares, suspensions, snapshot, clock)
    return Delivery(pipeline, Rescheduler(services, gate, unfinished), copies, sync, lanes, suspensions, unfinished)

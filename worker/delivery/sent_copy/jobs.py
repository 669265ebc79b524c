"""From a sent letter to its copy: whether one is wanted, and the job that asks for it."""

from dataclasses import dataclass

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from worker.delivery.context import EventContext
from worker.delivery.instrumentation import Subject
from worker.delivery.messages import Arrival, Publication
from worker.delivery.ports import CopyTarget
from worker.domain.backoff import PAUSE_LEVELS_S
from worker.domain.events.cloudevents import TraceContext
from worker.domain.events.models import CommentCreated, written_at
from worker.domain.failure.classify import Classification
from worker.domain.failure.copy_refusals import judge_refusal
from worker.domain.failure.judgements import Judgement, fail, retry
from worker.domain.providers import provider_of
from worker.domain.snapshot.model import Mailbox
from worker.domain.topology import Topology
from worker.domain.transmission import DeliveryFailure, FailureKind
from worker.domain.vocabulary import CopyMode, CopyOutcome, EventType, Reason, Scope
from worker.domain.work import ATTEMPT, FIRST_SEEN
from worker.errors import InvalidEvent

JOB = "sendas-copy"
LETTER_TYPE = "message/rfc822"


class CopyJob(BaseModel):
    """What the copying stage must know of a letter; the letter itself is the message's body.

    `is_whole`: it was handed in for all of its recipients at once, so that no other transaction of it can have left a
    copy. `provider_message_id`: where the server said that it rewrote the Message-ID.
    """

    model_config = ConfigDict(frozen=True)

    account_id: str
    mailbox_id: str
    event_key: str
    event_id: str
    event_source: str
    event_type: str
    task_id: str
    comment_id: str | None
    message_id: str
    provider_message_id: str | None = None
    is_whole: bool = False
    recipients: tuple[int, ...]
    date: AwareDatetime
    sent_at: AwareDatetime
    traceparent: str | None = None
    tracestate: str | None = None

    @property
    def subject(self) -> Subject:
        """The event that it comes from, for logs and spans."""
        trace = TraceContext(self.traceparent, self.tracestate)
        return Subject(self.event_id, self.event_type, self.account_id, trace)

    @property
    def known_type(self) -> EventType | None:
        """The event's type; None when a hand-made job names none that there is."""
        return EventType(self.event_type) if self.event_type in tuple(EventType) else None


def copy_verdict(mailbox: Mailbox) -> CopyOutcome | None:
    """Why no copy is to be saved from this mailbox, or None when one is."""
    provider = provider_of(mailbox.smtp.host)
    if mailbox.sent_copy.mode is CopyMode.NEVER:
        return CopyOutcome.TURNED_OFF
    if mailbox.sent_copy.mode is CopyMode.AUTO and provider.saves_to_sent:
        return CopyOutcome.PROVIDER_SAVES  # it does so without our IMAP
    if mailbox.sent_copy.imap is None or not provider.has_mailbox:
        return CopyOutcome.NO_IMAP
    return None


def is_learned(mailbox: Mailbox) -> bool:
    """True when it has to be learned from the mailbox's letters whether its provider saves to Sent by itself."""
    return mailbox.sent_copy.mode is CopyMode.AUTO and provider_of(mailbox.smtp.host).saves_to_sent is None


def copy_target(account_id: str, mailbox: Mailbox) -> CopyTarget | None:
    """Where the mailbox's Sent folder is, None without an IMAP server; signs in as for SMTP unless it says how."""
    imap = mailbox.sent_copy.imap
    if imap is None:
        return None
    return CopyTarget(account_id, mailbox.id, imap, imap.auth or mailbox.smtp.auth, mailbox.sent_copy.folder)


@dataclass(frozen=True, slots=True)
class Accepted:
    """What is known of a letter's acceptance: for which recipients (positions), and whether for all at once."""

    positions: tuple[int, ...]
    is_whole: bool = False
    provider_message_id: str | None = None


def copy_job(context: EventContext, mailbox: Mailbox, message_id: str, accepted: Accepted) -> CopyJob:
    """The job for a letter that was just sent."""
    event = context.event
    return CopyJob(
        account_id=event.data.account_id,
        mailbox_id=mailbox.id,
        event_key=event.key,
        event_id=event.id,
        event_source=event.source,
        event_type=event.type.value,
        task_id=event.data.task.id,
        comment_id=event.data.comment.id if isinstance(event.data, CommentCreated) else None,
        message_id=message_id,
        provider_message_id=accepted.provider_message_id,
        is_whole=accepted.is_whole,
        recipients=accepted.positions,
        date=written_at(event.data),
        sent_at=context.began_at,
        traceparent=event.traceparent,
        tracestate=event.tracestate,
    )


def copy_publication(job: CopyJob, mailbox: Mailbox, letter: bytes, topology: Topology) -> Publication:
    """The job as a message: the exact bytes of the letter travel with it, so that the copy is the letter that was sent.

    Where it is not known whether the provider saves to Sent by itself, the job waits a moment, so that the provider's
    own copy can be seen before another one is saved.
    """
    knows = provider_of(mailbox.smtp.host).saves_to_sent is not None or mailbox.sent_copy.mode is CopyMode.ALWAYS
    queue = topology.sent_copy if knows else topology.delay(topology.sent_copy, PAUSE_LEVELS_S[0])
    return Publication(
        exchange="",
        routing_key=queue,
        body=letter,
        headers={JOB: job.model_dump_json(), ATTEMPT: 0, FIRST_SEEN: job.sent_at.isoformat()},
        content_type=LETTER_TYPE,
    )


def read_copy_job(arrival: Arrival) -> CopyJob:
    """The job that a message of the copying queue carries. Raises `InvalidEvent` when it carries none."""
    try:
        return CopyJob.model_validate_json(str(arrival.headers.get(JOB, "")))
    except ValidationError as error:
        raise InvalidEvent(f"{JOB}: {error.error_count()} fields are wrong") from None


def classify_copy(trouble: DeliveryFailure) -> Classification:
    """What a failed copy means; IMAP has no reply codes, so the server's own words are in the detail.

    A refused sign-in is not repeated: providers lock mailboxes for that.
    """
    judged = _judged(trouble)
    return Classification(judged.reason, Scope.MAILBOX, judged.action)


def _judged(trouble: DeliveryFailure) -> Judgement:
    if trouble.fault is FailureKind.REPLY:
        return judge_refusal(trouble.phase, trouble.detail)
    return _FAULTS.get(trouble.fault, retry(Reason.TEMPORARILY_UNAVAILABLE))


_FAULTS = {
    FailureKind.DNS: retry(Reason.DNS_FAILED),
    FailureKind.CONNECT: retry(Reason.CONNECT_FAILED),
    FailureKind.EGRESS: fail(Reason.EGRESS_DENIED),
    FailureKind.TLS: retry(Reason.TLS_FAILED),
    FailureKind.TIMEOUT: retry(Reason.TIMEOUT),
    FailureKind.DISCONNECTED: retry(Reason.DISCONNECTED),
    FailureKind.TOO_LARGE: fail(Reason.MESSAGE_TOO_LARGE),
    FailureKind.NO_FOLDER: fail(Reason.SENT_FOLDER_MISSING),
    FailureKind.SECRET: fail(Reason.AUTH_FAILED),
    FailureKind.NO_AUTH_MECHANISM: fail(Reason.AUTH_BASIC_DISABLED),
    FailureKind.TOKEN_REFUSED: fail(Reason.AUTH_TOKEN_REVOKED),
}

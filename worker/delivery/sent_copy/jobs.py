"""From a sent letter to its copy: whether one is wanted, and the job that requests it."""

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
        """The event that the job derives from, for logs and spans."""
        trace = TraceContext(self.traceparent, self.tracestate)
        return Subject(self.event_id, self.event_type, self.account_id, trace)

    @property
    def known_type(self) -> EventType | None:
        """The event's type; None when a hand-made job names an unknown one."""
        return EventType(self.event_type) if self.event_type in tuple(EventType) else None


def copy_verdict(mailbox: Mailbox) -> CopyOutcome | None:
    """Why this mailbox gets no copy, or None when it gets one."""
    provider = provider_of(mailbox.smtp.host)
    if mailbox.sent_copy.mode is CopyMode.NEVER:
        return CopyOutcome.TURNED_OFF
    if mailbox.sent_copy.mode is CopyMode.AUTO and provider.saves_to_sent:
        return CopyOutcome.PROVIDER_SAVES  # without our IMAP
    if mailbox.sent_copy.imap is None or not provider.has_mailbox:
        return CopyOutcome.NO_IMAP
    return None


def is_learned(mailbox: Mailbox) -> bool:
    """True when only the mailbox's own letters can show whether its provider saves to Sent by itself."""
    return mailbox.sent_copy.mode is CopyMode.AUTO and provider_of(mailbox.smtp.host).saves_to_sent is None


def copy_target(account_id: str, mailbox: Mailbox) -> CopyTarget | None:
    """The mailbox's Sent folder, None without an IMAP server; signs in as for SMTP unless it has its own sign-in."""
    imap = mailbox.sent_copy.imap
    if imap is None:
        return None
    return CopyTarget(account_id, mailbox.id, imap, imap.auth or mailbox.smtp.auth, mailbox.sent_copy.folder)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A letter's acceptance: for which recipients (positions), and whether for all at once."""

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
    """The job as a message that carries the exact bytes of the letter, so that the copy is identical.

    Where it is unknown whether the provider saves to Sent by itself, the job waits a moment, so that the provider's own
    copy can appear before another one is saved.
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
    """The job in a message of the copying queue. Raises `InvalidEvent` when there is none."""
    try:
        return CopyJob.model_validate_json(str(arrival.headers.get(JOB, "")))
    except ValidationError as error:
        raise InvalidEvent(f"{JOB}: {error.error_count()} fields are wrong") from None


def classify_copy(trouble: DeliveryFailure) -> Classification:
    """Classify a failed copy; IMAP has no reply codes, so the server's own words are in the detail.

    A refused sign-in is not retried: providers lock mailboxes for that.
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

"""Results in their envelope: CloudEvents 1.0, one class per type, so that a type and its data cannot disagree.

As a message, a result is structured CloudEvents JSON, with the attributes repeated in headers and AMQP properties.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from worker.domain.events.cloudevents import STRUCTURED
from worker.domain.results.models import (
    DeadLetterAct,
    MailboxChecked,
    MailboxResumed,
    MailboxSuspended,
    MailboxTokenRotated,
    MailDeferred,
    MailFailed,
    MailSent,
    MailUncertain,
    Result,
    SentCopyDeferred,
    SentCopyResult,
)
from worker.domain.vocabulary import ResultType


def _is_none(value: object) -> bool:
    return value is None


class ResultEvent(BaseModel):
    """An event that the worker publishes; each type has its own class below."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: Literal["1.0"] = "1.0"
    id: str = Field(min_length=1, description="the same for the same result, so that a repeat can be dropped")
    source: str = Field(min_length=1, description="the installation that publishes, such as /sendas")
    type: ResultType
    subject: str | None = Field(default=None, exclude_if=_is_none, description="what it is about: task or mailbox")
    time: AwareDatetime
    datacontenttype: Literal["application/json"] = "application/json"
    traceparent: str | None = Field(default=None, exclude_if=_is_none, description="W3C Trace Context, as it came in")
    tracestate: str | None = Field(default=None, exclude_if=_is_none, description="W3C Trace Context, as it came in")
    data: Result

    def to_json(self) -> bytes:
        """The body of the message: structured mode, UTF-8."""
        return self.model_dump_json().encode()


class MailSentEvent(ResultEvent):
    """The mailbox's server accepted the letter for the recipients listed."""

    type: Literal[ResultType.MAIL_SENT] = ResultType.MAIL_SENT
    data: MailSent


class MailDeferredEvent(ResultEvent):
    """An attempt did not succeed; another follows at `next_attempt_at`."""

    type: Literal[ResultType.MAIL_DEFERRED] = ResultType.MAIL_DEFERRED
    data: MailDeferred


class MailFailedEvent(ResultEvent):
    """No further attempt for the recipients listed."""

    type: Literal[ResultType.MAIL_FAILED] = ResultType.MAIL_FAILED
    data: MailFailed


class MailUncertainEvent(ResultEvent):
    """Handed over, no answer: accepted or not is unknown; what follows is in `resolution_policy`."""

    type: Literal[ResultType.MAIL_UNCERTAIN] = ResultType.MAIL_UNCERTAIN
    data: MailUncertain


class SentCopySavedEvent(ResultEvent):
    """The copy is in Sent: it was saved, or was there already."""

    type: Literal[ResultType.SENT_COPY_SAVED] = ResultType.SENT_COPY_SAVED
    data: SentCopyResult


class SentCopySkippedEvent(ResultEvent):
    """No copy was to be saved by the worker; `outcome` says why."""

    type: Literal[ResultType.SENT_COPY_SKIPPED] = ResultType.SENT_COPY_SKIPPED
    data: SentCopyResult


class SentCopyDeferredEvent(ResultEvent):
    """The copy could not be saved yet; another attempt follows at `next_attempt_at`."""

    type: Literal[ResultType.SENT_COPY_DEFERRED] = ResultType.SENT_COPY_DEFERRED
    data: SentCopyDeferred


class SentCopyFailedEvent(ResultEvent):
    """The copy could not be saved and no further attempt follows; the letter itself was sent."""

    type: Literal[ResultType.SENT_COPY_FAILED] = ResultType.SENT_COPY_FAILED
    data: SentCopyResult


class MailboxSuspendedEvent(ResultEvent):
    """No letters leave this mailbox until somebody acts."""

    type: Literal[ResultType.MAILBOX_SUSPENDED] = ResultType.MAILBOX_SUSPENDED
    data: MailboxSuspended


class MailboxResumedEvent(ResultEvent):
    """Letters leave this mailbox again."""

    type: Literal[ResultType.MAILBOX_RESUMED] = ResultType.MAILBOX_RESUMED
    data: MailboxResumed


class MailboxCheckedEvent(ResultEvent):
    """The answer to a check, step by step."""

    type: Literal[ResultType.MAILBOX_CHECKED] = ResultType.MAILBOX_CHECKED
    data: MailboxChecked


class MailboxTokenRotatedEvent(ResultEvent):
    """A mailbox has a new refresh token, sealed for the workers' own key: store it in the snapshot."""

    type: Literal[ResultType.MAILBOX_TOKEN_ROTATED] = ResultType.MAILBOX_TOKEN_ROTATED
    data: MailboxTokenRotated


class DeadLetterReplayedEvent(ResultEvent):
    """An operator sent dead letters back to be tried again."""

    type: Literal[ResultType.DEAD_LETTER_REPLAYED] = ResultType.DEAD_LETTER_REPLAYED
    data: DeadLetterAct


class DeadLetterDiscardedEvent(ResultEvent):
    """An operator discarded dead letters."""

    type: Literal[ResultType.DEAD_LETTER_DISCARDED] = ResultType.DEAD_LETTER_DISCARDED
    data: DeadLetterAct


AnyResultEvent = (
    MailSentEvent
    | MailDeferredEvent
    | MailFailedEvent
    | MailUncertainEvent
    | SentCopySavedEvent
    | SentCopySkippedEvent
    | SentCopyFailedEvent
    | SentCopyDeferredEvent
    | MailboxSuspendedEvent
    | MailboxResumedEvent
    | MailboxCheckedEvent
    | MailboxTokenRotatedEvent
    | DeadLetterReplayedEvent
    | DeadLetterDiscardedEvent
)

EVENT_CLASSES: Mapping[ResultType, type[AnyResultEvent]] = MappingProxyType(
    {
        ResultType.MAIL_SENT: MailSentEvent,
        ResultType.MAIL_DEFERRED: MailDeferredEvent,
        ResultType.MAIL_FAILED: MailFailedEvent,
        ResultType.MAIL_UNCERTAIN: MailUncertainEvent,
        ResultType.SENT_COPY_SAVED: SentCopySavedEvent,
        ResultType.SENT_COPY_SKIPPED: SentCopySkippedEvent,
        ResultType.SENT_COPY_FAILED: SentCopyFailedEvent,
        ResultType.SENT_COPY_DEFERRED: SentCopyDeferredEvent,
        ResultType.MAILBOX_SUSPENDED: MailboxSuspendedEvent,
        ResultType.MAILBOX_RESUMED: MailboxResumedEvent,
        ResultType.MAILBOX_CHECKED: MailboxCheckedEvent,
        ResultType.MAILBOX_TOKEN_ROTATED: MailboxTokenRotatedEvent,
        ResultType.DEAD_LETTER_REPLAYED: DeadLetterReplayedEvent,
        ResultType.DEAD_LETTER_DISCARDED: DeadLetterDiscardedEvent,
    }
)
"""The class of each result type, for callers that learn the type at run time."""

_PARSER: TypeAdapter[AnyResultEvent] = TypeAdapter(Annotated[AnyResultEvent, Field(discriminator="type")])


def parse_result(body: bytes) -> AnyResultEvent:
    """Parse a result from the bytes that `to_json` made of it; its own `to_json` returns equal bytes.

    Raises:
        ValueError: when the bytes are no result.
    """
    return _PARSER.validate_json(body)


_HEADER_ATTRIBUTES = ("specversion", "id", "source", "type", "subject", "datacontenttype", "traceparent", "tracestate")


@dataclass(frozen=True, slots=True)
class Properties:
    """AMQP properties of a result.

    `message_id` is left to the publisher: it matches returned messages by it, so it must be fresh for each publication,
    while the event's id (in the body and in `ce-id`) is the same for a repeated one.
    """

    content_type: str
    type: str
    timestamp: datetime
    correlation_id: str


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message for the exchange of results, with the type as routing key; `id` is the result's."""

    id: str
    routing_key: str
    headers: Mapping[str, str]
    properties: Properties
    body: bytes


def to_message(result: AnyResultEvent) -> OutgoingMessage:
    """A result as a message; `correlation_id` is the id of the event that caused it, if any."""
    headers = {f"ce-{name}": str(value) for name in _HEADER_ATTRIBUTES if (value := getattr(result, name)) is not None}
    headers["ce-time"] = result.time.isoformat()
    return OutgoingMessage(
        id=result.id,
        routing_key=result.type.value,
        headers=headers,
        properties=Properties(
            content_type=STRUCTURED,
            type=result.type.value,
            timestamp=result.time,
            correlation_id=getattr(result.data, "event_id", None) or result.id,
        ),
        body=result.to_json(),
    )

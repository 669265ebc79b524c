"""An event as it arrived: the CloudEvents attributes that matter, and its data."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Generic, TypeVar

from worker.domain.events import CommentCreated, ConfigurationChanged, LetterData, MailboxCheckRequested
from worker.domain.identity import event_key
from worker.domain.vocabulary import EventType

Data = LetterData | MailboxCheckRequested | ConfigurationChanged
DataT = TypeVar("DataT", bound=Data, covariant=True)


@dataclass(frozen=True)
class Event(Generic[DataT]):
    """One event of the product; `traceparent` and `tracestate` (W3C Trace Context) are carried to every result."""

    id: str
    source: str
    type: EventType
    time: datetime
    data: DataT
    traceparent: str | None = None
    tracestate: str | None = None

    @cached_property
    def key(self) -> str:
        """The event's identity for ever, see `identity.event_key`."""
        return event_key(self.source, self.id)


LetterEvent = Event[LetterData]


def written_at(data: LetterData) -> datetime:
    """When the author wrote it: the letter's date."""
    return data.comment.created_at if isinstance(data, CommentCreated) else data.task.created_at

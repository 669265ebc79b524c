"""An event in work, and one of its letters, with everything decided about them so far."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from worker.delivery.messages import Arrival
from worker.delivery.places import Holder
from worker.delivery.ports import Directory
from worker.domain.addresses import masked
from worker.domain.events.models import LetterEvent, Recipient
from worker.domain.letter.model import Attachment, PlannedLetter
from worker.domain.results.models import SenderResult, sender_result
from worker.domain.snapshot.resolution import Resolution, Sender
from worker.domain.work import Work

log = structlog.get_logger(__name__)

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class EventContext:
    """One event, its remaining work, and its sender or the reason why there is none.

    The directory is the same from beginning to end, whatever snapshot arrives meanwhile.
    """

    arrival: Arrival
    event: LetterEvent
    work: Work
    directory: Directory
    resolution: Resolution
    began_at: datetime

    @property
    def sender(self) -> Sender:
        """The sender. Only for events that have one."""
        if self.resolution.sender is None:
            raise LookupError("this event has no sender")
        return self.resolution.sender

    @property
    def sender_result(self) -> SenderResult:
        return sender_result(self.resolution, self.directory.version)

    @property
    def attempt(self) -> int:
        """Number of the current attempt, counted from 1."""
        return self.work.attempts + 1

    @property
    def age_s(self) -> float:
        """Seconds since the event was first seen."""
        return (self.began_at - self.work.first_seen).total_seconds()

    def wanted(self) -> tuple[int, ...]:
        """Positions of the recipients that still wait for their letter."""
        return (
            self.work.recipients if self.work.recipients is not None else tuple(range(len(self.event.data.recipients)))
        )

    def recipients(self, positions: Sequence[int]) -> list[Recipient]:
        """The recipients at these positions."""
        return [self.event.data.recipients[position] for position in positions]


@dataclass(frozen=True, slots=True)
class LetterContext:
    """One letter of an event. `attachments`: the event's files; None until they are downloaded."""

    context: EventContext
    planned: PlannedLetter
    attachments: tuple[Attachment, ...] | None = None

    @property
    def positions(self) -> tuple[int, ...]:
        """The letter's recipients, as positions in the event's list."""
        return self.planned.envelope

    def to(self, positions: tuple[int, ...]) -> "LetterContext":
        """The letter to some of its recipients."""
        return replace(self, planned=replace(self.planned, envelope=positions))

    @property
    def holder(self) -> Holder:
        """The holder of the letter's places."""
        mailbox = self.context.sender.mailbox
        return Holder(self.context.sender.account.id, mailbox.id if mailbox else None)

    def log(self, event: str, positions: Sequence[int], **fields: object) -> None:
        """Log an outcome on one line, with addresses masked."""
        sender = self.context.resolution.sender
        log.info(
            event,
            mailbox_id=sender.mailbox.id if sender and sender.mailbox else None,
            tier=self.context.resolution.tier.value,
            to=[masked(recipient.address) for recipient in self.context.recipients(positions[:_SHOWN])],
            recipients=len(positions),
            attempt=self.context.attempt,
            **fields,
        )

    def work(
        self,
        positions: Sequence[int],
        *,
        attempts: int | None = None,
        reason: str | None = None,
        reply: str | None = None,
        turn: datetime | None = None,
        lane: str | None = None,
    ) -> Work:
        """The letter's remaining work, for later.

        What is not given stays unchanged, except the turn and its lane.
        """
        before = self.context.work
        is_told_before = reason is None or reason == before.last_reason
        return Work(
            first_seen=before.first_seen,
            attempts=before.attempts if attempts is None else attempts,
            mode=self.planned.mode,
            recipients=tuple(positions),
            last_reason=reason or before.last_reason,
            # One reason's words must not be reported as another's.
            last_reply=reply or (before.last_reply if is_told_before else None),
            turn=turn,
            lane=lane,
            is_replayed_doubt=before.is_replayed_doubt,
        )

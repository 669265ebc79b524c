"""Results: built from a letter's outcome, recorded first, then published exactly as recorded."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from worker.delivery.cancellation import cancellations, finished
from worker.delivery.context import EventContext
from worker.delivery.ledger import HandOver, Ledger, Record
from worker.delivery.messages import Publication
from worker.domain.events.models import CommentCreated, LetterEvent
from worker.domain.failure.classify import UNCERTAIN, Classification
from worker.domain.failure.hints import hint_for
from worker.domain.identity import result_id
from worker.domain.results.events import (
    AnyResultEvent,
    MailDeferredEvent,
    MailFailedEvent,
    MailSentEvent,
    MailUncertainEvent,
    OutgoingMessage,
    to_message,
)
from worker.domain.results.models import (
    MailDeferred,
    MailFailed,
    MailSent,
    MailUncertain,
    RecipientResult,
    server_reply,
)
from worker.domain.transmission import Reply
from worker.domain.vocabulary import Action, Outcome, Reason, Scope, UncertainPolicy
from worker.domain.work import Work
from worker.errors import LostClaim, Unavailable

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Facts:
    """Which recipients (positions), and what the server said to each."""

    positions: tuple[int, ...]
    replies: Mapping[int, Reply | None] = field(default_factory=dict)
    message_id: str | None = None
    provider_message_id: str | None = None
    detail: str | None = None
    timings_s: Mapping[str, float] = field(default_factory=dict)


class Reporter:
    """Builds the results of one installation, which is their `source`."""

    def __init__(self, source: str, results_exchange: str) -> None:
        self.source = source
        self._exchange = results_exchange

    def publication(self, result: AnyResultEvent | OutgoingMessage, *, must_route: bool = False) -> Publication:
        """A result as a message. Not every result type has a consumer, so most need not be routed."""
        message = result if isinstance(result, OutgoingMessage) else to_message(result)
        return Publication(
            exchange=self._exchange,
            routing_key=message.routing_key,
            body=message.body,
            headers=message.headers,
            content_type=message.properties.content_type,
            correlation_id=message.properties.correlation_id,
            type=message.properties.type,
            timestamp=message.properties.timestamp,
            must_route=must_route,
        )

    def sent(self, context: EventContext, facts: Facts, at: datetime) -> MailSentEvent:
        data = MailSent(**self._common(context, facts, Outcome.SENT), sender=context.sender_result)
        return MailSentEvent(**self._envelope(context, facts.positions, "sent", at), data=data)

    def deferred(
        self, context: EventContext, facts: Facts, why: Classification, at: datetime, *, attempt: int, wait_s: float
    ) -> MailDeferredEvent:
        """`attempt`: the number of the last attempt; equal numbers with equal reasons give the same result."""
        data = MailDeferred(
            **{**self._common(context, facts, Outcome.DEFERRED), "attempt": attempt},
            **_judged(why),
            sender=context.sender_result,
            next_attempt_at=at + timedelta(seconds=wait_s),
        )
        stage = f"deferred/{attempt}/{why.reason}"
        return MailDeferredEvent(**self._envelope(context, facts.positions, stage, at), data=data)

    def stranded(
        self, event: LetterEvent, positions: tuple[int, ...], work: Work, at: datetime, detail: str
    ) -> MailDeferredEvent:
        """Reports work halted by a bug of ours; an operator may replay the letter."""
        why = Classification(Reason.INTERNAL_ERROR, Scope.PLATFORM, Action.RETRY)
        facts = Facts(positions, detail=detail)
        data = MailDeferred(**_of_event(event, work.attempts, facts, Outcome.DEFERRED), **_judged(why))
        stage = f"stranded/{work.attempts}/{work.first_seen.astimezone(UTC).isoformat()}"
        return MailDeferredEvent(**self._envelope_of(event, positions, stage, at), data=data)

    def failed(self, context: EventContext, facts: Facts, why: Classification, at: datetime) -> MailFailedEvent:
        data = MailFailed(**self._common(context, facts, Outcome.FAILED), **_judged(why), sender=context.sender_result)
        return MailFailedEvent(**self._envelope(context, facts.positions, "failed", at), data=data)

    def uncertain(
        self,
        context: EventContext,
        positions: tuple[int, ...],
        hand_over: HandOver,
        policy: UncertainPolicy,
        at: datetime,
        detail: str | None = None,
    ) -> MailUncertainEvent:
        """The result's id derives from the hand-over, so that consumers can drop duplicates.

        The attempt's number would not do: after a crash the same attempt is made again. The id includes the policy
        too: that a letter is held from now on is a different result from its being uncertain.
        """
        facts = Facts(positions, message_id=hand_over.message_id, detail=detail)
        data = MailUncertain(
            **{**self._common(context, facts, Outcome.UNCERTAIN), "attempt": hand_over.attempt},
            **_judged(UNCERTAIN),
            sender=context.sender_result,
            resolution_policy=policy,
        )
        stage = f"uncertain/{hand_over.attempt}/{hand_over.at.astimezone(UTC).isoformat()}/{policy}"
        return MailUncertainEvent(**self._envelope(context, positions, stage, at), data=data)

    def _envelope(self, context: EventContext, positions: Sequence[int], stage: str, at: datetime) -> dict[str, Any]:
        return self._envelope_of(context.event, positions, stage, at)

    def _envelope_of(self, event: LetterEvent, positions: Sequence[int], stage: str, at: datetime) -> dict[str, Any]:
        return {
            "id": result_id(event.key, positions, stage),
            "source": self.source,
            "subject": event.data.task.id,
            "time": at,
            "traceparent": event.traceparent,
            "tracestate": event.tracestate,
        }

    def _common(self, context: EventContext, facts: Facts, outcome: Outcome) -> dict[str, Any]:
        return _of_event(context.event, context.attempt, facts, outcome)


def _of_event(event: LetterEvent, attempt: int, facts: Facts, outcome: Outcome) -> dict[str, Any]:
    recipients = event.data.recipients
    return {
        "account_id": event.data.account_id,
        "event_id": event.id,
        "event_source": event.source,
        "event_type": event.type.value,
        "task_id": event.data.task.id,
        "comment_id": event.data.comment.id if isinstance(event.data, CommentCreated) else None,
        "message_id": facts.message_id,
        "provider_message_id": facts.provider_message_id,
        "attempt": attempt,
        "detail": facts.detail,
        "timings": facts.timings_s,
        "recipients": tuple(
            RecipientResult(
                address=recipients[position].address,
                contact_id=recipients[position].contact_id,
                outcome=outcome,
                reply=server_reply(facts.replies.get(position)),
            )
            for position in facts.positions
        ),
    }


def _judged(why: Classification) -> dict[str, Any]:
    return {"reason": why.reason, "scope": why.scope, "action": why.action, "hint": hint_for(why.reason, why.remedy)}


@dataclass(frozen=True, slots=True)
class Final:
    """The final outcome of some recipients of a letter (positions), and the result to publish."""

    positions: tuple[int, ...]
    outcome: Outcome
    message: OutgoingMessage


class Recorder:
    """Writes to the ledger what cannot be determined again, however long it takes; only cancellation ends the wait.

    A write in progress is finished even then: a server's answer recorded by half would leave the delivery uncertain.
    """

    def __init__(self, ledger: Ledger, reporter: Reporter, retry_s: float = 1.0) -> None:
        self._ledger = ledger
        self._reporter = reporter
        self._retry_s = retry_s

    async def record(self, context: EventContext, finals: Sequence[Final]) -> list[Publication]:
        """Record the outcomes, then return their results for publication."""
        if finals:
            records = [Record(f.positions, f.outcome, f.message.id, f.message.body) for f in finals]
            try:
                await self._patiently("record", lambda: self._ledger.record(context.event.key, records))
            except LostClaim:
                # Another worker declared us dead and resolves this as uncertain; what the server did is still true.
                log.warning("ledger.record_lost")
        return [self._reporter.publication(final.message) for final in finals]

    async def release(self, context: EventContext, positions: Sequence[int]) -> None:
        """Release recipients that were certainly not accepted, so that a later attempt can claim them."""
        await self._patiently("release", lambda: self._ledger.release(context.event.key, positions))

    async def abandon(self, context: EventContext, positions: Sequence[int]) -> None:
        """Leave uncertain recipients to the next claim."""
        await self._patiently("abandon", lambda: self._ledger.abandon(context.event.key, positions))

    async def _patiently(self, what: str, step: Callable[[], Awaitable[None]]) -> None:
        before = cancellations()
        while True:
            try:
                return await finished(step())
            except Unavailable as error:
                log.warning("ledger.retry", operation=what, error=str(error))
            if cancellations() > before:
                raise asyncio.CancelledError
            await asyncio.sleep(self._retry_s)

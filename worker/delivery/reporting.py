"""Results: built out of what is known of a letter, and made messages of."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from worker.delivery.case import Case
from worker.delivery.facts import Facts
from worker.delivery.ledger import HandOver
from worker.delivery.messages import Publication
from worker.delivery.sent_message import sent_message
from worker.domain.classification import UNCERTAIN, Classification
from worker.domain.envelope import (
    AnyResultEvent,
    MailDeferredEvent,
    MailFailedEvent,
    MailUncertainEvent,
)
from worker.domain.event import LetterEvent
from worker.domain.events import CommentCreated
from worker.domain.hints import hint_for
from worker.domain.identity import result_id
from worker.domain.message import OutgoingMessage, to_message
from worker.domain.results import (
    MailDeferred,
    MailFailed,
    MailUncertain,
    RecipientResult,
    server_reply,
)
from worker.domain.vocabulary import Action, Outcome, Reason, Scope, UncertainPolicy
from worker.domain.work import Work


class Reporter:
    """Builds the results of one installation, which is their `source`."""

    def __init__(self, source: str, results_exchange: str) -> None:
        self.source = source
        self._exchange = results_exchange

    def publication(self, result: AnyResultEvent | OutgoingMessage, *, must_route: bool = False) -> Publication:
        """A result as a message. Nobody has to listen to a type of results, so most need not be routed."""
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

    def sent(self, case: Case, facts: Facts, at: datetime) -> OutgoingMessage:
        return sent_message(case, facts, self.source, at)

    def deferred(
        self, case: Case, facts: Facts, why: Classification, at: datetime, *, attempt: int, wait_s: float
    ) -> MailDeferredEvent:
        """`attempt`: the number of the attempt made last; equal ones for equal reasons are one and the same result."""
        data = MailDeferred(
            **{**self._common(case, facts, Outcome.DEFERRED), "attempt": attempt},
            **_judged(why),
            sender=case.sender_result,
            next_attempt_at=at + timedelta(seconds=wait_s),
        )
        stage = f"deferred/{attempt}/{why.reason}"
        return MailDeferredEvent(**self._envelope(case, facts.positions, stage, at), data=data)

    def stranded(
        self, event: LetterEvent, positions: tuple[int, ...], work: Work, at: datetime, detail: str
    ) -> MailDeferredEvent:
        """Nothing more happens by itself after a mistake of our own; an operator may let the letter go on."""
        why = Classification(Reason.INTERNAL_ERROR, Scope.PLATFORM, Action.RETRY)
        facts = Facts(positions, detail=detail)
        data = MailDeferred(**_of_event(event, work.attempts, facts, Outcome.DEFERRED), **_judged(why))
        stage = f"stranded/{work.attempts}/{work.first_seen.astimezone(UTC).isoformat()}"
        return MailDeferredEvent(**self._envelope_of(event, positions, stage, at), data=data)

    def failed(self, case: Case, facts: Facts, why: Classification, at: datetime) -> MailFailedEvent:
        data = MailFailed(**self._common(case, facts, Outcome.FAILED), **_judged(why), sender=case.sender_result)
        return MailFailedEvent(**self._envelope(case, facts.positions, "failed", at), data=data)

    def uncertain(
        self,
        case: Case,
        positions: tuple[int, ...],
        hand_over: HandOver,
        policy: UncertainPolicy,
        at: datetime,
        detail: str | None = None,
    ) -> MailUncertainEvent:
        """The same hand-over is told of with the same id, and each other one with another.

        An attempt's number would not tell them apart: after a crash it is made once more. The policy is in the id
        too: that a letter is held from now on is another result than that it is in doubt.
        """
        facts = Facts(positions, message_id=hand_over.message_id, detail=detail)
        data = MailUncertain(
            **{**self._common(case, facts, Outcome.UNCERTAIN), "attempt": hand_over.attempt},
            **_judged(UNCERTAIN),
            sender=case.sender_result,
            resolution_policy=policy,
        )
        stage = f"uncertain/{hand_over.attempt}/{hand_over.at.astimezone(UTC).isoformat()}/{policy}"
        return MailUncertainEvent(**self._envelope(case, positions, stage, at), data=data)

    def _envelope(self, case: Case, positions: Sequence[int], stage: str, at: datetime) -> dict[str, Any]:
        return self._envelope_of(case.event, positions, stage, at)

    def _envelope_of(self, event: LetterEvent, positions: Sequence[int], stage: str, at: datetime) -> dict[str, Any]:
        return {
            "id": result_id(event.key, positions, stage),
            "source": self.source,
            "subject": event.data.task.id,
            "time": at,
            "traceparent": event.traceparent,
            "tracestate": event.tracestate,
        }

    def _common(self, case: Case, facts: Facts, outcome: Outcome) -> dict[str, Any]:
        return _of_event(case.event, case.attempt, facts, outcome)


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

"""Turns the delivery's observations into metrics."""

from collections.abc import Callable
from datetime import datetime
from time import monotonic

from worker.delivery.context import EventContext
from worker.delivery.instrumentation import NO_TRACING, Stage, Timed, Tracer
from worker.domain.failure.classify import Classification
from worker.domain.slo import LETTER_WITHIN_S, Promptness, is_end_excused, is_wait_excused, promptness
from worker.domain.transmission import Transmission
from worker.domain.vocabulary import CopyOutcome, EventType, Outcome, Reason
from worker.telemetry.metrics import UNKNOWN, Metrics


class MetricsObserver:
    """Implements `delivery.instrumentation.Observer` over the worker's metrics; timed stages become spans too."""

    def __init__(
        self, metrics: Metrics, tracer: Tracer = NO_TRACING, monotonic: Callable[[], float] = monotonic
    ) -> None:
        self._metrics = metrics
        self._tracer = tracer
        self._monotonic = monotonic
        # Cached: each letter passes a dozen stages.
        self._observe: dict[Stage, Callable[[float], None]] = {
            stage: metrics.stage.labels(stage.value).observe for stage in Stage
        }

    def settled(self, queue: str, event_type: EventType | None, outcome: str) -> None:
        name = event_type.value if event_type else UNKNOWN
        self._metrics.events.labels(queue=queue, type=name, outcome=outcome).inc()

    def attempted(self, provider: str, transmission: Transmission) -> None:
        result = "uncertain" if transmission.uncertain else "refused" if not transmission.accepted else "accepted"
        self._metrics.attempts.labels(provider=provider, result=result).inc()
        for stage, seconds in transmission.timings_s.items():
            self._metrics.stage.labels(stage).observe(seconds)  # accepts any name: this must not fail

    def delivered(self, context: EventContext, recipients: int, at: datetime) -> None:
        self._metrics.letters.labels(outcome=Outcome.SENT.value, reason="").inc(recipients)
        seconds = max((at - context.event.time).total_seconds(), 0)
        self._metrics.delivery.observe(seconds)
        self._counted(promptness(seconds, LETTER_WITHIN_S, is_excused=_is_wait_excused(context)), recipients)

    def ended(self, context: EventContext, outcome: Outcome, why: Classification, recipients: int) -> None:
        self._metrics.letters.labels(outcome=outcome.value, reason=why.reason.value).inc(recipients)
        if outcome is Outcome.UNCERTAIN:
            self._metrics.uncertain.inc(recipients)
        elif outcome is Outcome.FAILED:
            is_excused = is_end_excused(why, is_wait_excused=_is_wait_excused(context))
            self._counted(promptness(None, LETTER_WITHIN_S, is_excused=is_excused), recipients)

    def lost(self, recipients: int) -> None:
        self._counted(Promptness.LOST, recipients)

    def repeated(self, outcome: Outcome, recipients: int) -> None:
        self._metrics.repeats.labels(outcome=outcome.value).inc(recipients)

    def _counted(self, promptness: Promptness, recipients: int) -> None:
        self._metrics.letter_promptness.labels(promptness=promptness.value).inc(recipients)

    def copied(self, provider: str, outcome: CopyOutcome, seconds: float, promptness: Promptness | None) -> None:
        self._metrics.copies.labels(provider=provider, outcome=outcome.value).inc()
        if promptness is None:
            return
        self._metrics.copy_promptness.labels(promptness=promptness.value).inc()
        if outcome in (CopyOutcome.SAVED, CopyOutcome.ALREADY_THERE):
            self._metrics.copy.observe(max(seconds, 0))

    def copy_deferred(self, reason: Reason) -> None:
        self._metrics.copies_deferred.labels(reason=reason.value).inc()

    def checked(self, outcome: str, seconds: float) -> None:
        self._metrics.checks.labels(outcome=outcome).inc()
        self._metrics.check.observe(max(seconds, 0))

    def timed(self, stage: Stage, seconds: float) -> None:
        self._observe[stage](max(seconds, 0))

    def stage(self, stage: Stage) -> Timed:
        return Timed(self._monotonic, self._tracer.span(stage.value), self._observe[stage])

    def buried(self, reason: Reason) -> None:
        self._metrics.dead_letters.labels(reason=reason.value).inc()


def _is_wait_excused(context: EventContext) -> bool:
    sender = context.resolution.sender
    is_platform = sender is not None and sender.mailbox is None
    return is_wait_excused(context.work.last_reason, has_turn=context.work.turn is not None, is_platform=is_platform)

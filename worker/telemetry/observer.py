"""What the delivery tells, as metrics."""

from datetime import datetime
from functools import cache

from worker.delivery.case import Case
from worker.domain.transmission import Transmission
from worker.domain.vocabulary import CopyOutcome, EventType, Outcome, Reason
from worker.telemetry.metrics import Metrics


class MetricsObserver:
    """`delivery.observing.Observer` over the worker's metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        # Labels are from closed lists, so each combination's child is looked up once and kept.
        self._events = cache(metrics.events.labels)
        self._attempts = cache(metrics.attempts.labels)
        self._letters = cache(metrics.letters.labels)
        self._stage = cache(metrics.stage.labels)

    def settled(self, queue: str, event_type: EventType | None, outcome: str) -> None:
        self._events(queue, event_type.value if event_type else "unknown", outcome).inc()

    def attempted(self, provider: str, transmission: Transmission) -> None:
        result = "uncertain" if transmission.uncertain else "refused" if not transmission.accepted else "accepted"
        self._attempts(provider, result).inc()
        for stage, seconds in transmission.timings_s.items():
            self.timed(stage, seconds)

    def delivered(self, case: Case, recipients: int, at: datetime) -> None:
        self._letters(Outcome.SENT.value, "").inc(recipients)
        self._metrics.delivery.observe(max((at - case.event.time).total_seconds(), 0))

    def ended(self, outcome: Outcome, reason: Reason, recipients: int) -> None:
        self._letters(outcome.value, reason.value).inc(recipients)

    def copied(self, provider: str, outcome: CopyOutcome) -> None:
        self._metrics.copies.labels(provider=provider, outcome=outcome.value).inc()

    def timed(self, stage: str, seconds: float) -> None:
        self._stage(stage).observe(seconds)

    def buried(self, reason: Reason) -> None:
        self._metrics.dead_letters.labels(reason=reason.value).inc()

"""Metrics of `sendas history consume`. Names differ from the worker's, so that no alert confuses the two."""

from prometheus_client import CollectorRegistry, Counter, Histogram, Info

from worker.history.keeping import Kept
from worker.telemetry.metrics import Reading, counter

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_DELAYS = (0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200, 86_400)

OUTCOMES = ("new", "known", "refused")

HISTORY_READINGS = (
    Reading("sendas_history_ready", "1 when results are taken and kept, else 0."),
    Reading("sendas_history_condition", "1 for each condition of readiness that holds.", labels=("condition",)),
)


class HistoryMetrics:
    """The metrics over one registry; implements `KeepingObserver`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.results = counter(
            registry,
            "sendas_history_results",
            "Results taken from the history's queue: new, known already, or refused into the dead queue.",
            outcome=OUTCOMES,
        )
        self.batch = Histogram(
            "sendas_history_batch_seconds", "Time to keep one batch of results.", buckets=_SECONDS, registry=registry
        )
        self.delay = Histogram(
            "sendas_history_delay_seconds",
            "From a result's time to its being in the history, of the oldest new one in each batch.",
            buckets=_DELAYS,
            registry=registry,
        )
        self.pauses = Counter(
            "sendas_history_pauses", "Waits because the history's database did not answer.", registry=registry
        )
        self.expired = Counter(
            "sendas_history_expired", "Results deleted because their retention was over.", registry=registry
        )
        self.build = Info("sendas_history_build", "Version of sendas and Python.", registry=registry)

    def kept(self, kept: Kept) -> None:
        for outcome, count in zip(OUTCOMES, (kept.new, kept.known, kept.refused), strict=True):
            self.results.labels(outcome).inc(count)
        self.batch.observe(kept.seconds)
        if kept.delay_s is not None:
            self.delay.observe(kept.delay_s)

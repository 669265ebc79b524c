"""Recording rules: how fast the objectives' budgets burn, over the windows that alerts compare."""

from collections.abc import Iterator
from dataclasses import dataclass

RECORDS = "sendas-records"
"""The group of the recording rules."""

WINDOWS = ("5m", "30m", "1h", "6h", "3d")


@dataclass(frozen=True, slots=True)
class Objective:
    """A promise: this share of what `counter` counts is in time."""

    name: str
    counter: str
    share: float

    @property
    def budget(self) -> float:
        """The share that may be late or lost."""
        return round(1 - self.share, 6)

    def miss_ratio(self, window: str) -> str:
        """Name of the recorded share of misses over a window, by job."""
        return f"sendas:slo_{self.name}:miss_ratio_rate{window}"


LETTERS = Objective("letters", "sendas_slo_recipients_total", 0.999)
COPIES = Objective("copies", "sendas_slo_copies_total", 0.99)


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording rule."""

    name: str
    expression: str

    def rule(self) -> dict[str, object]:
        """As Prometheus reads it."""
        return {"record": self.name, "expr": self.expression}


def recordings() -> Iterator[Recording]:
    """All recording rules."""
    for objective in (LETTERS, COPIES):
        for window in WINDOWS:
            missed = f'sum by (job) (rate({objective.counter}{{promptness=~"late|lost"}}[{window}]))'
            counted = f'sum by (job) (rate({objective.counter}{{promptness!="excused"}}[{window}]))'
            yield Recording(objective.miss_ratio(window), f"{missed} / {counted}")
    yield Recording(
        "sendas:letters_sent:rate5m", 'sum by (job) (rate(sendas_recipient_outcomes_total{outcome="sent"}[5m]))'
    )
    yield Recording("sendas:events_taken:rate5m", 'sum by (job) (rate(sendas_stage_seconds_count{stage="queue"}[5m]))')
    yield Recording(
        "sendas:ledger_commit_seconds:p99_rate5m",
        "histogram_quantile(0.99, sum by (job, le) (rate(sendas_ledger_commit_seconds_bucket[5m])))",
    )
    yield Recording(
        "sendas:loop_lag_seconds:p99_rate5m",
        "histogram_quantile(0.99, sum by (job, instance, le) (rate(sendas_event_loop_lag_seconds_bucket[5m])))",
    )

"""Every metric the worker has, declared in one place.

Labels come from closed lists only, never from an address, an account, a mailbox or an id, so the number of series is
bounded whatever the tenants do.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_END_TO_END = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200, 28_800, 86_400)
_BATCHES = (1, 2, 5, 10, 20, 50, 100, 200)


class Metrics:
    """The worker's metrics over one registry; tests have a registry each."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._flow(registry)
        self._time(registry)
        self._state(registry)

    def _flow(self, registry: CollectorRegistry) -> None:
        self.events = Counter(
            "sendas_events", "Messages taken from a queue and settled.", ["queue", "type", "outcome"], registry=registry
        )
        self.letters = Counter(
            "sendas_letters", "Recipients whose letter came to an outcome.", ["outcome", "reason"], registry=registry
        )
        self.attempts = Counter(
            "sendas_smtp_attempts",
            "SMTP transactions by provider and result.",
            ["provider", "result"],
            registry=registry,
        )
        self.copies = Counter(
            "sendas_sent_copies", "Copies for Sent by provider and outcome.", ["provider", "outcome"], registry=registry
        )
        self.results = Counter(
            "sendas_results", "Result events handed to the broker, by type.", ["type"], registry=registry
        )
        self.results_unrouted = Counter(
            "sendas_results_unrouted", "Result events that no queue was bound for.", registry=registry
        )
        self.publish_retries = Counter(
            "sendas_publish_retries", "Publications that had to be repeated.", registry=registry
        )
        self.intake_pauses = Counter(
            "sendas_intake_pauses", "Waits because something the worker needs was away.", ["queue"], registry=registry
        )
        self.dead_letters = Counter(
            "sendas_dead_letters", "Messages put into the dead queue, by reason.", ["reason"], registry=registry
        )

    def _time(self, registry: CollectorRegistry) -> None:
        self.stage = Histogram(
            "sendas_stage_seconds", "Time per stage of a letter.", ["stage"], buckets=_FAST, registry=registry
        )
        self.delivery = Histogram(
            "sendas_delivery_seconds",
            "From the event's time to the mailbox's server accepting the letter.",
            buckets=_END_TO_END,
            registry=registry,
        )
        self.ledger_commit = Histogram(
            "sendas_ledger_commit_seconds", "Time of one ledger transaction.", buckets=_FAST, registry=registry
        )
        self.ledger_batch = Histogram(
            "sendas_ledger_batch_size", "Operations in one ledger transaction.", buckets=_BATCHES, registry=registry
        )

    def _state(self, registry: CollectorRegistry) -> None:
        self.snapshot_version = Gauge("sendas_snapshot_version", "Version of the snapshot in use.", registry=registry)
        self.snapshot_left_out = Gauge(
            "sendas_snapshot_accounts_left_out", "Accounts left out because they are not valid.", registry=registry
        )
        self.build = Info("sendas_build", "What is running.", registry=registry)


@dataclass(frozen=True, slots=True)
class Reading:
    """A metric whose value others keep: read at each scrape. `label`: its values come from a closed list."""

    name: str
    meaning: str
    is_counter: bool = False
    label: str | None = None


READINGS = (
    Reading("sendas_in_flight", "Messages in work."),
    Reading("sendas_lanes_waiting", "Letters waiting for their mailbox."),
    Reading(
        "sendas_mailboxes_suspended",
        "Mailboxes nothing is sent from. All workers say the same number: `max by (reason)`, never a sum.",
        label="reason",
    ),
    Reading("sendas_snapshot_age_seconds", "Since the source last confirmed the snapshot in use."),
    Reading("sendas_smtp_connections", "SMTP connections."),
    Reading("sendas_smtp_connections_idle", "SMTP connections without a letter."),
    Reading("sendas_smtp_connections_opened", "SMTP connections opened.", is_counter=True),
    Reading("sendas_smtp_connections_reused", "Letters sent over a kept connection.", is_counter=True),
)


class Readings(Collector):
    """The metrics of `READINGS`, over what keeps their values."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._declared = {reading.name: reading for reading in READINGS}
        self._families: list[Callable[[], Metric]] = []
        registry.register(self)

    def add(self, name: str, read: Callable[[], float]) -> None:
        """Have `read` called for a declared metric at every scrape."""
        declared = self._declared[name]
        family = CounterMetricFamily if declared.is_counter else GaugeMetricFamily
        self._families.append(lambda: family(name, declared.meaning, value=read()))

    def add_by_label(self, name: str, read: Callable[[], Mapping[str, float]]) -> None:
        """The same for a metric with a label; the keys of what is read are the label's values."""
        declared = self._declared[name]

        def family() -> Metric:
            gauge = GaugeMetricFamily(name, declared.meaning, labels=[declared.label or ""])
            for value, number in read().items():
                gauge.add_metric([value], number)
            return gauge

        self._families.append(family)

    def collect(self) -> Iterable[Metric]:
        """The metrics, now."""
        return [family() for family in self._families]

"""Every metric the worker has, declared in one place; `docs/metrics.md` is generated from here.

Label values come from closed lists only (`closed.py`), never from an address, account, mailbox or id, so the number
of series stays bounded whatever tenants do.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Generic, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from worker.delivery.instrumentation import CHECKED, SETTLED, Stage
from worker.domain.failure.classify import PLATFORM
from worker.domain.providers import GENERIC, providers
from worker.domain.slo import Promptness
from worker.domain.topology import Topology
from worker.domain.vocabulary import CopyOutcome, EventType, Outcome, Reason, ResultType


@dataclass(frozen=True, slots=True)
class Reading:
    """Declares a metric read at scrape time; its label values come from closed lists.

    `always`: values of its only label that are exported as 0 when the source has none.
    """

    name: str
    meaning: str
    is_counter: bool = False
    labels: tuple[str, ...] = ()
    always: tuple[str, ...] = ()


Read = Callable[[], Mapping[tuple[str, ...], float]]
"""Returns a value per combination of label values; the key is empty for a metric without labels."""


class Readings(Collector):
    """Exports the declared readings whose sources are registered; one without a source is absent."""

    def __init__(self, registry: CollectorRegistry, declared: Iterable[Reading]) -> None:
        self._declared = {reading.name: reading for reading in declared}
        self._reads: dict[str, Read] = {}
        registry.register(self)

    def add(self, name: str, read: Callable[[], float]) -> None:
        """Register `read`, called at every scrape, for a declared metric without labels."""
        self.add_by_labels(name, lambda: {(): read()})

    def add_by_label(self, name: str, read: Callable[[], Mapping[str, float]]) -> None:
        """The same for a metric with one label; the mapping's keys are the label values."""
        self.add_by_labels(name, lambda: {(value,): number for value, number in read().items()})

    def add_by_labels(self, name: str, read: Read) -> None:
        """The same for a metric with any number of labels."""
        if name not in self._declared:
            raise LookupError(f"{name} is not declared")
        self._reads[name] = read

    def collect(self) -> Iterable[Metric]:
        """The metrics' current values."""
        return [self._family(self._declared[name], read()) for name, read in self._reads.items()]

    def _family(self, reading: Reading, values: Mapping[tuple[str, ...], float]) -> Metric:
        kind = CounterMetricFamily if reading.is_counter else GaugeMetricFamily
        family = kind(reading.name, reading.meaning, labels=list(reading.labels))
        told: dict[tuple[str, ...], float] = {(name,): 0.0 for name in reading.always}
        for labels, value in (told | dict(values)).items():
            family.add_metric(labels, value)
        return family


M = TypeVar("M", bound=MetricWrapperBase)

OTHER = "other"
"""Replaces a label value that is not on its list: the mistake shows up, without a series of its own."""

Labels = Mapping[str, Sequence[str]]


class Closed(Generic[M]):
    """A counter or histogram with labels."""

    def __init__(self, metric: M, labels: Labels) -> None:
        self.metric = metric
        self.label_values = {name: (*values,) for name, values in labels.items()}
        # Cached here too: the client's own look-up costs more than counting.
        self._children = {values: metric.labels(*values) for values in product(*self.label_values.values())}

    def labels(self, *in_order: str, **by_name: str) -> M:
        """The child for these label values, positional or by name."""
        values = in_order or tuple(by_name[name] for name in self.label_values)
        child = self._children.get(values)
        return self._other(values) if child is None else child

    def _other(self, values: Sequence[str]) -> M:
        allowed = zip(values, self.label_values.values(), strict=True)
        return self.metric.labels(*(value if value in known else OTHER for value, known in allowed))


def add_process_metrics(registry: CollectorRegistry) -> None:
    """Register the client library's metrics of process, platform and garbage collection."""
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)


def counter(registry: CollectorRegistry, name: str, meaning: str, **labels: Sequence[str]) -> Closed[Counter]:
    """Create a counter with these labels and their values."""
    return Closed(Counter(name, meaning, list(labels), registry=registry), labels)


def histogram(
    registry: CollectorRegistry, name: str, meaning: str, buckets: Sequence[float], **labels: Sequence[str]
) -> Closed[Histogram]:
    """Create a histogram with these labels and their values."""
    return Closed(Histogram(name, meaning, list(labels), buckets=buckets, registry=registry), labels)


disable_created_metrics()  # type: ignore[no-untyped-call]  # an extra series each, which no query uses

UNKNOWN = "unknown"
"""The type of a message that could not be parsed."""

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
# Includes the objectives' thresholds, 60 s and 300 s.
_END_TO_END = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 1_800, 7_200, 28_800, 86_400)
_BATCHES = (1, 2, 5, 10, 20, 50, 100, 200)

RESULTS_OF_ATTEMPTS = ("accepted", "refused", "uncertain")
RESULTS_OF_REFRESHES = ("renewed", "refused", "unavailable")
RESULTS_OF_LOOKS = (
    "renewed", "unchanged", "unavailable", "failed", "unreadable", "wrong_schema", "invalid", "older", "too_large",
)  # fmt: skip


def _values(of: type[StrEnum]) -> tuple[str, ...]:
    return tuple(member.value for member in of)


class Metrics:
    """The worker's metrics over one registry; each test has its own. `topology` provides the queues used as labels."""

    def __init__(self, registry: CollectorRegistry, topology: Topology | None = None) -> None:
        topology = topology or Topology()
        self.registry = registry
        self._queues = tuple(queue.name for queue in topology.queues())
        self._works = tuple(queue for queue in self._queues if topology.kind(queue) == "work")
        self._providers = (*(provider.name for provider in providers()), GENERIC.name, PLATFORM)
        self._flow(registry)
        self._objectives(registry)
        self._time(registry)
        self._state(registry)

    def closed(self) -> Iterator[Closed[Counter] | Closed[Histogram]]:
        """All labelled counters and histograms."""
        return (metric for metric in vars(self).values() if isinstance(metric, Closed))

    def _flow(self, registry: CollectorRegistry) -> None:
        self.events = counter(
            registry,
            "sendas_events",
            "Messages taken from a queue and settled.",
            queue=self._works,
            type=(*_values(EventType), UNKNOWN),
            outcome=SETTLED,
        )
        self.letters = counter(
            registry,
            "sendas_recipient_outcomes",
            "Recipients whose letter came to an outcome; those put off are counted each time that is told.",
            outcome=_values(Outcome),
            reason=("", *_values(Reason)),
        )
        self.repeats = counter(
            registry,
            "sendas_duplicate_recipients",
            "Recipients whose outcome was told again, because their event came again; no letter left.",
            outcome=_values(Outcome),
        )
        self.uncertain = Counter(
            "sendas_uncertain",
            "Recipients whose letter was handed over without an answer: nobody knows whether it was accepted.",
            registry=registry,
        )
        self.attempts = counter(
            registry,
            "sendas_smtp_attempts",
            "SMTP transactions by provider and result.",
            provider=self._providers,
            result=RESULTS_OF_ATTEMPTS,
        )
        self.copies = counter(
            registry,
            "sendas_sent_copies",
            "Copies for Sent by provider and outcome.",
            provider=self._providers,
            outcome=_values(CopyOutcome),
        )
        self.copies_deferred = counter(
            registry,
            "sendas_sent_copies_deferred",
            "Copies put off, counted when the reason is another one than the last time.",
            reason=_values(Reason),
        )
        self.token_refreshes = counter(
            registry, "sendas_token_refreshes", "Renewals of OAuth 2 access tokens.", result=RESULTS_OF_REFRESHES
        )
        self.checks = counter(
            registry, "sendas_mailbox_checks", "Mailboxes checked, by what was found.", outcome=CHECKED
        )
        self.snapshot_looks = counter(
            registry, "sendas_snapshot_refreshes", "Looks for a newer snapshot.", outcome=RESULTS_OF_LOOKS
        )
        self._broker_flow(registry)

    def _broker_flow(self, registry: CollectorRegistry) -> None:
        self.results = counter(
            registry, "sendas_results", "Result events confirmed by the broker, by type.", type=_values(ResultType)
        )
        self.results_unrouted = Counter(
            "sendas_results_unrouted", "Result events that no queue was bound for.", registry=registry
        )
        self.publish_retries = Counter(
            "sendas_publish_retries", "Publications that had to be repeated.", registry=registry
        )
        self.intake_pauses = counter(
            registry, "sendas_intake_pauses", "Waits because something the worker needs was away.", queue=self._works
        )
        self.dead_letters = counter(
            registry, "sendas_dead_letters", "Messages put into the dead queue, by reason.", reason=_values(Reason)
        )

    def _objectives(self, registry: CollectorRegistry) -> None:
        self.letter_promptness = counter(
            registry,
            "sendas_slo_recipients",
            "Recipients by how their letter stands to the objective of 60 s; `excused` ones do not count.",
            promptness=_values(Promptness),
        )
        self.copy_promptness = counter(
            registry,
            "sendas_slo_copies",
            "Copies wanted, by how they stand to the objective of 300 s; `excused` ones do not count.",
            promptness=_values(Promptness),
        )

    def _time(self, registry: CollectorRegistry) -> None:
        self.stage = histogram(
            registry, "sendas_stage_seconds", "Time per stage of a letter.", _FAST, stage=_values(Stage)
        )
        self.delivery = Histogram(
            "sendas_delivery_seconds",
            "From the event's time to the mailbox's server accepting the letter.",
            buckets=_END_TO_END,
            registry=registry,
        )
        self.copy = Histogram(
            "sendas_sent_copy_seconds",
            "From the letter's attempt to its copy being in Sent.",
            buckets=_END_TO_END,
            registry=registry,
        )
        self.check = Histogram(
            "sendas_mailbox_check_seconds",
            "Time of one check of a mailbox, its test letter included.",
            buckets=_FAST,
            registry=registry,
        )
        self.ledger_commit = Histogram(
            "sendas_ledger_commit_seconds", "Time of one ledger transaction.", buckets=_FAST, registry=registry
        )
        self.ledger_batch = Histogram(
            "sendas_ledger_batch_size", "Operations in one ledger transaction.", buckets=_BATCHES, registry=registry
        )
        self.loop_lag = Histogram(
            "sendas_event_loop_lag_seconds",
            "How late the event loop wakes a sleeper.",
            buckets=_FAST,
            registry=registry,
        )

    def _state(self, registry: CollectorRegistry) -> None:
        self.snapshot_version = Gauge("sendas_snapshot_version", "Version of the snapshot in use.", registry=registry)
        self.snapshot_accounts = Gauge("sendas_snapshot_accounts", "Accounts in the snapshot.", registry=registry)
        self.snapshot_left_out = Gauge(
            "sendas_snapshot_accounts_left_out", "Accounts left out because they are not valid.", registry=registry
        )
        self.build = Info("sendas_build", "What is running.", registry=registry)


READINGS = (
    Reading("sendas_ready", "1 while the worker is ready to work, as `/readyz` says, else 0."),
    Reading(
        "sendas_readiness_condition", "What readiness depends on: 1 while it holds, else 0.", labels=("condition",)
    ),
    Reading("sendas_in_flight", "Messages in work.", labels=("queue",)),
    Reading("sendas_prefetch", "Messages that may be in work at a time.", labels=("queue",)),
    Reading("sendas_lanes_waiting", "Letters waiting for their mailbox."),
    Reading(
        "sendas_mailboxes_suspended",
        "Mailboxes nothing is sent from. All workers say the same number: `max by (reason)`, never a sum.",
        labels=("reason",),
        always=_values(Reason),
    ),
    Reading("sendas_oldest_unfinished_event_seconds", "Age of the oldest event in work or put off by this worker."),
    Reading("sendas_publish_waiting_seconds", "How long the oldest message has been waiting for the broker's confirm."),
    Reading(
        "sendas_queue_messages",
        "Messages ready in a queue, as the broker says; `kind` is work, delay or dead. All workers say the same.",
        labels=("queue", "kind"),
    ),
    Reading("sendas_queue_consumers", "Consumers of a work queue. All workers say the same.", labels=("queue",)),
    Reading("sendas_snapshot_age_seconds", "Since the source last confirmed the snapshot in use."),
    Reading(
        "sendas_token_expiry_seconds",
        "Until the first OAuth 2 access token in memory ends, of those whose last renewal went well or failed.",
        labels=("renewal",),
    ),
    Reading("sendas_smtp_connections", "SMTP connections."),
    Reading("sendas_smtp_connections_idle", "SMTP connections without a letter."),
    Reading("sendas_smtp_connections_opened", "SMTP connections opened.", is_counter=True),
    Reading("sendas_smtp_connections_reused", "Letters sent over a kept connection.", is_counter=True),
)

"""Metrics whose values others keep: read at each scrape."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class Reading:
    """The declaration of such a metric; the values of its labels come from closed lists.

    `always`: values of its only label that are told as 0 when what keeps them has none.
    """

    name: str
    meaning: str
    is_counter: bool = False
    labels: tuple[str, ...] = ()
    always: tuple[str, ...] = ()


Read = Callable[[], Mapping[tuple[str, ...], float]]
"""Gives a value for each combination of label values; the empty one where there are no labels."""


class Readings(Collector):
    """The declared readings, over what keeps their values; one that nobody keeps yet is not there."""

    def __init__(self, registry: CollectorRegistry, declared: Iterable[Reading]) -> None:
        self._declared = {reading.name: reading for reading in declared}
        self._reads: dict[str, Read] = {}
        registry.register(self)

    def add(self, name: str, read: Callable[[], float]) -> None:
        """Have `read` called at every scrape for a declared metric without labels."""
        self.add_by_labels(name, lambda: {(): read()})

    def add_by_label(self, name: str, read: Callable[[], Mapping[str, float]]) -> None:
        """The same for a metric with one label; the keys of what is read are the label's values."""
        self.add_by_labels(name, lambda: {(value,): number for value, number in read().items()})

    def add_by_labels(self, name: str, read: Read) -> None:
        """The same for a metric with any labels."""
        if name not in self._declared:
            raise LookupError(f"{name} is not declared")
        self._reads[name] = read

    def collect(self) -> Iterable[Metric]:
        """The metrics, now."""
        return [self._family(self._declared[name], read()) for name, read in self._reads.items()]

    def _family(self, reading: Reading, values: Mapping[tuple[str, ...], float]) -> Metric:
        kind = CounterMetricFamily if reading.is_counter else GaugeMetricFamily
        family = kind(reading.name, reading.meaning, labels=list(reading.labels))
        told: dict[tuple[str, ...], float] = {(name,): 0.0 for name in reading.always}
        for labels, value in (told | dict(values)).items():
            family.add_metric(labels, value)
        return family

"""Metrics whose labels have closed lists of values, each combination there from the start.

So the number of series is known before the first letter, whatever the tenants do; and as a counter stands at 0 before
it is first counted, no first increase is missed by `increase()`.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase

M = TypeVar("M", bound=MetricWrapperBase)

OTHER = "other"
"""What a value that is not on its list is counted as: a mistake to be seen, not a series of its own."""

Labels = Mapping[str, Sequence[str]]


class Closed(Generic[M]):
    """A counter or histogram with labels."""

    def __init__(self, metric: M, labels: Labels) -> None:
        self.metric = metric
        self.label_values = {name: (*values,) for name, values in labels.items()}
        # Kept here as well, because the client's own look-up costs more than the counting.
        self._children = {values: metric.labels(*values) for values in product(*self.label_values.values())}

    def labels(self, *in_order: str, **by_name: str) -> M:
        """The child for these values, in the labels' order or by their names."""
        values = in_order or tuple(by_name[name] for name in self.label_values)
        child = self._children.get(values)
        return self._other(values) if child is None else child

    def _other(self, values: Sequence[str]) -> M:
        allowed = zip(values, self.label_values.values(), strict=True)
        return self.metric.labels(*(value if value in known else OTHER for value, known in allowed))


def counter(registry: CollectorRegistry, name: str, meaning: str, **labels: Sequence[str]) -> Closed[Counter]:
    """A counter with these labels and their values."""
    return Closed(Counter(name, meaning, list(labels), registry=registry), labels)


def histogram(
    registry: CollectorRegistry, name: str, meaning: str, buckets: Sequence[float], **labels: Sequence[str]
) -> Closed[Histogram]:
    """A histogram with these labels and their values."""
    return Closed(Histogram(name, meaning, list(labels), buckets=buckets, registry=registry), labels)

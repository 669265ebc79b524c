"""The page of all metrics, generated from their declarations.

`python -m tools.docgen.metrics [--check]` writes `docs/metrics.md`, or says that it is out of date.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry, Info
from prometheus_client.metrics import MetricWrapperBase

from tools.docgen.page import write_or_check
from worker.console.metrics import ConsoleMetrics
from worker.telemetry.history_metrics import HISTORY_READINGS, HistoryMetrics
from worker.telemetry.metrics import OTHER, READINGS, Closed, Metrics

PAGE = Path("docs/metrics.md")
COMMAND = "python -m tools.docgen.metrics"

_INTRODUCTION = f"""# Metrics

<!-- Generated: {COMMAND} -->

Served at `/metrics` on the port of `SENDAS_HTTP_PORT`. Values of labels come from closed lists, and every combination
of them is there from the start: the number of series does not grow with accounts, mailboxes or letters, and a counter
stands at 0 before it is first counted. A value that no list has is counted as `{OTHER}`, which is a mistake to report.
`sendas_history_…` are those of `sendas history consume` ([history.md](history.md)) and `sendas_console_…` those of
`sendas console` ([console.md](console.md)), processes of their own; all others are a worker's. Besides these there are
`process_…` and `python_…` from the client. [observability.md](observability.md) says what to look at; [slo.md](slo.md)
defines what `sendas_slo_…` count.
"""
_SUFFIXES = {"counter": "_total", "info": "_info"}


@dataclass(frozen=True, slots=True)
class Described:
    """One metric as a scrape shows it; `values` are those of its labels, where they are declared."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def described() -> list[Described]:
    """All metrics, by name."""
    return sorted([*_declared(), *_readings()], key=lambda metric: metric.name)


def page() -> str:
    """The whole page."""
    metrics = described()
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|", *map(_row, metrics)]
    labels = ["", "## Values of labels", "", "| label | of | values |", "|---|---|---|", *_label_rows(metrics)]
    return "\n".join([_INTRODUCTION, *rows, *labels]) + "\n"


def _row(metric: Described) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} |"


def _label_rows(metrics: Iterable[Described]) -> Iterator[str]:
    users: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for metric in metrics:
        for label, values in metric.values.items():
            users.setdefault((label, values), []).append(metric.name)
    for (label, values), names in sorted(users.items()):
        shown = ", ".join(f"`{value}`" if value else "empty" for value in values)
        yield f"| `{label}` | {', '.join(f'`{name}`' for name in names)} | {shown} |"


def _declared() -> Iterator[Described]:
    metrics = (Metrics(CollectorRegistry()), HistoryMetrics(CollectorRegistry()), ConsoleMetrics(CollectorRegistry()))
    for metric in (each for declared in metrics for each in vars(declared).values()):
        if isinstance(metric, Closed):
            yield _described(metric.metric, metric.label_values)
        elif isinstance(metric, Info):
            yield _described(metric, {"version": (), "python": ()})
        elif isinstance(metric, MetricWrapperBase):
            yield _described(metric, {})


def _described(metric: MetricWrapperBase, labels: Mapping[str, tuple[str, ...]]) -> Described:
    family = next(iter(metric.describe()))
    values = {label: values for label, values in labels.items() if values}
    name = family.name + _SUFFIXES.get(family.type, "")
    return Described(name, family.type, tuple(labels), family.documentation, values)


def _readings() -> Iterator[Described]:
    for reading in (*READINGS, *HISTORY_READINGS):
        kind = "counter" if reading.is_counter else "gauge"
        values = {reading.labels[0]: reading.always} if reading.always else {}
        yield Described(reading.name + _SUFFIXES.get(kind, ""), kind, reading.labels, reading.meaning, values)


def main(arguments: list[str]) -> int:
    """Write or check; returns the exit status."""
    return write_or_check(PAGE, page(), arguments, COMMAND)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

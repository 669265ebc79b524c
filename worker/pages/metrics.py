"""The page of all metrics, generated from their declarations.

`python -m worker.pages.metrics [--check]` writes `docs/metrics.md`, or says that it is out of date.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from worker.pages.page import write_or_check
from worker.telemetry.metrics import READINGS, Metrics

PAGE = Path("docs/metrics.md")
COMMAND = "python -m worker.pages.metrics"

_INTRODUCTION = f"""# Metrics

<!-- Generated: {COMMAND} -->

Served at `/metrics` on the port of `SENDAS_HTTP_PORT`. Values of labels come from closed lists: the number of series
does not grow with accounts, mailboxes or letters. Besides these there are `process_…` and `python_…` from the client.
"""
_SUFFIXES = {"counter": "_total", "info": "_info"}


@dataclass(frozen=True, slots=True)
class Described:
    """One metric as a scrape shows it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


def described() -> list[Described]:
    """All metrics, by name."""
    return sorted([*_declared(), *_readings()], key=lambda metric: metric.name)


def page() -> str:
    """The whole page."""
    rows = map(_row, described())
    return "\n".join([_INTRODUCTION, "| metric | type | labels | meaning |\n|---|---|---|---|", *rows]) + "\n"


def _row(metric: Described) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels) or "none"
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} |"


def _declared() -> Iterator[Described]:
    for metric in vars(Metrics(CollectorRegistry())).values():
        if isinstance(metric, MetricWrapperBase):
            family = next(iter(metric.describe()))
            # The client library has no public name for a metric's labels.
            labels = ("version",) if family.type == "info" else tuple(metric._labelnames)
            name = family.name + _SUFFIXES.get(family.type, "")
            yield Described(name, family.type, labels, family.documentation)


def _readings() -> Iterator[Described]:
    for reading in READINGS:
        kind = "counter" if reading.is_counter else "gauge"
        labels = () if reading.label is None else (reading.label,)
        yield Described(reading.name + _SUFFIXES.get(kind, ""), kind, labels, reading.meaning)


def main(arguments: list[str]) -> int:
    """Write or check; returns the exit status."""
    return write_or_check(PAGE, page(), arguments, COMMAND)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

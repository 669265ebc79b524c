"""The page of all metrics, generated from their declarations.

`python -m worker.pages.metrics [--check]` writes `docs/metrics.md`, or says that it is out of date.
"""

import ast
import inspect
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from worker import running
from worker.pages.page import write_or_check
from worker.telemetry.metrics import Metrics

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
    """Gauges that are read at each scrape: they are declared where their sources are put together."""
    for call in _calls(ast.walk(ast.parse(inspect.getsource(running)))):
        words = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
        if len(words) >= 2 and str(words[0]).startswith("sendas_"):
            name, meaning, *label = map(str, words)
            yield Described(name, "gauge", tuple(label), meaning)


def _calls(nodes: Iterable[ast.AST]) -> Iterator[ast.Call]:
    return (node for node in nodes if isinstance(node, ast.Call))


def main(arguments: list[str]) -> int:
    """Write or check; returns the exit status."""
    return write_or_check(PAGE, page(), arguments, COMMAND)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

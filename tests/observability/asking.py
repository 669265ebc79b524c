"""Asking a real Prometheus what a panel would ask it."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from stack import Prometheus

Series = Mapping[str, Any]


def substituted(expression: str, rate_interval: str, over: str) -> str:
    """The query with Grafana's variables filled in: all jobs, all instances."""
    for variable, value in (
        ("$__rate_interval", rate_interval),
        ("$__range", over),
        ("$job", ".+"),
        ("$instance", ".+"),
    ):
        expression = expression.replace(variable, value)
    return expression


def has_number(result: Iterable[Series]) -> bool:
    """Whether some series of an instant query has a value that can be drawn."""
    return any(math.isfinite(float(series["value"][1])) for series in result)


async def answered(prometheus: Prometheus, expressions: Iterable[str]) -> set[str]:
    """Those of the queries that have an answer by now."""
    return {expression for expression in expressions if has_number(await prometheus.query(expression))}

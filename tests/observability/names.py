"""Names of metrics in queries and pages, and those that a scrape has."""

import re
from functools import cache

from tools.docgen.metrics import described

_NAME = re.compile(
    r"\b(sendas[_:][a-z0-9_:]*[a-z0-9]|process_[a-z_]+|python_[a-z_]+|kube_[a-z_]+|up)\b(?=[{\[)\s`.,;|]|$)"
)
_OF_CLIENT = {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_max_fds", "up"}
_OF_CLUSTER = {"kube_job_failed"}  # kube-state-metrics


@cache
def known_names() -> frozenset[str]:
    """Every name that a query may use."""
    names = _OF_CLIENT | _OF_CLUSTER
    for metric in described():
        suffixes = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        names |= {metric.name + suffix for suffix in suffixes} | {metric.name}
    return frozenset(names)


def names_in(text: str) -> set[str]:
    """The names of metrics and records in a query or a page."""
    return set(_NAME.findall(text))

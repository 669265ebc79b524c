"""The pieces that queries of dashboards are made of; each metric is asked of the chosen jobs and instances only."""

import re

_MATCHER = re.compile(r"(\w+)(=~|!~|!=|=)(.*)")
_CHOSEN = 'job=~"$job", instance=~"$instance"'


def metric(name: str, *matchers: str) -> str:
    """A metric of the chosen workers: `metric("sendas_recipient_outcomes_total", "outcome=sent")`."""
    return f"{name}{{{', '.join((_CHOSEN, *map(_quoted, matchers)))}}}"


def _quoted(matcher: str) -> str:
    parts = _MATCHER.fullmatch(matcher)
    assert parts is not None, f"not a matcher: {matcher}"
    return f'{parts[1]}{parts[2]}"{parts[3]}"'


def rate(name: str, *matchers: str) -> str:
    """A counter's increase per second."""
    return f"rate({metric(name, *matchers)}[$__rate_interval])"


def increase(name: str, *matchers: str) -> str:
    """A counter's increase over all of the dashboard's time."""
    return f"increase({metric(name, *matchers)}[$__range])"


def quantile(share: float, histogram: str, *matchers: str, by: str = "") -> str:
    """The time that this share did not exceed, by a label if one is given."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) ({rate(f'{histogram}_bucket', *matchers)}))"


def mean(histogram: str, *matchers: str) -> str:
    """The mean of what a histogram observed."""
    return f"sum({rate(f'{histogram}_sum', *matchers)}) / sum({rate(f'{histogram}_count', *matchers)})"


def in_time(counter: str, *, over: str) -> str:
    """The share that was in time, of what counts for the objective."""
    good = f"increase({metric(counter, 'promptness=in_time')}[{over}])"
    return f"sum({good}) / sum(increase({metric(counter, 'promptness!=excused')}[{over}]))"

"""Limits failed sign-ins, per name and per address."""

from collections import OrderedDict, deque
from collections.abc import Callable

_MOST_KEYS = 10_000


class Throttle:
    """Counts failures in the last `span_s` seconds; a key that reaches `most` must wait.

    The number of keys is bounded: the one whose last failure is oldest is evicted first.
    """

    def __init__(self, most: int, span_s: float, monotonic: Callable[[], float]) -> None:
        self._most = most
        self._span_s = span_s
        self._monotonic = monotonic
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, key: str) -> float:
        """How long this key must wait; 0 if it may try now."""
        failures = self._failures.get(key)
        if failures is None:
            return 0.0
        now_s = self._monotonic()
        while failures and now_s - failures[0] >= self._span_s:
            failures.popleft()
        return 0.0 if len(failures) < self._most else self._span_s - (now_s - failures[0])

    def failed(self, key: str) -> None:
        """Count a failure."""
        failures = self._failures.setdefault(key, deque(maxlen=self._most))
        failures.append(self._monotonic())
        self._failures.move_to_end(key)
        while len(self._failures) > _MOST_KEYS:
            self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """Clear the key's failures."""
        self._failures.pop(key, None)

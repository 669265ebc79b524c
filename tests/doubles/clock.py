"""A clock that moves only when a test advances it."""

from datetime import UTC, datetime, timedelta


class SteppedClock:
    """Implements `Clock`."""

    def __init__(self, start: datetime = datetime(2026, 11, 23, 10, tzinfo=UTC)) -> None:
        self._start = start
        self._passed_s = 0.0

    def now(self) -> datetime:
        """See `Clock`."""
        return self._start + timedelta(seconds=self._passed_s)

    def monotonic(self) -> float:
        """See `Clock`."""
        return self._passed_s

    def step(self, seconds: float) -> None:
        """Advance the time."""
        self._passed_s += seconds

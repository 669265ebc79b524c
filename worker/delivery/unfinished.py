"""How old the oldest event is that a worker has in its hands or has put off."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

_STEP_S = 10
_MANY_STEPS = 2_000  # more than wait in the longest delay queue at a time


class Unfinished:
    """Remembers the times of events in work, and of those put off until they are due back.

    Once due, they are in the work queue, and whoever takes them next knows of them. What is put off is remembered by
    the oldest event due in each ten seconds, so that a backlog of a hundred thousand costs no more than one of ten.
    """

    def __init__(self) -> None:
        self._in_work: dict[object, datetime] = {}
        self._put_off: dict[int, datetime] = {}

    @contextmanager
    def working_on(self, event_time: datetime) -> Iterator[None]:
        """The event is in work while the context lasts."""
        key = object()
        self._in_work[key] = event_time
        try:
            yield
        finally:
            del self._in_work[key]

    def put_off(self, event_time: datetime, due: datetime) -> None:
        """The event, or what is left of it, waits in a delay queue."""
        step = int(due.timestamp()) // _STEP_S
        self._put_off[step] = min(event_time, self._put_off.get(step, event_time))
        if len(self._put_off) > _MANY_STEPS:  # nobody asks
            self._forget_before(step - _MANY_STEPS // 2)

    def oldest_age_s(self, now: datetime) -> float:
        """Age of the oldest event in seconds; 0 when there is none."""
        self._forget_before(int(now.timestamp()) // _STEP_S)
        oldest = min([*self._in_work.values(), *self._put_off.values()], default=now)
        return max((now - oldest) / timedelta(seconds=1), 0.0)

    def _forget_before(self, this_step: int) -> None:
        for step in [step for step in self._put_off if step < this_step]:
            del self._put_off[step]

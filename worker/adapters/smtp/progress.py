"""Where the sending of one letter stands, and how long its stages took."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from worker.adapters.smtp.troubles import Failed, failing_in
from worker.delivery.timing import Timed
from worker.delivery.tracing import NO_TRACING, Tracer
from worker.domain.transmission import Fault, Trouble
from worker.domain.vocabulary import Phase


class Progress:
    """The phase at this moment and seconds per stage; belongs to one call of `send`."""

    def __init__(self, monotonic: Callable[[], float], tracer: Tracer = NO_TRACING) -> None:
        self._monotonic = monotonic
        self._tracer = tracer
        self.phase = Phase.CONNECT
        self.timings_s: dict[str, float] = {}
        self._deadline: asyncio.Timeout | None = None

    def stage(self, name: str) -> Timed:
        """A context: the time spent inside is added to the stage, and is a span."""
        return Timed(self._monotonic, self._tracer.span(f"smtp {name}"), partial(self._add, name))

    def _add(self, name: str, seconds: float) -> None:
        self.timings_s[name] = self.timings_s.get(name, 0.0) + seconds

    def entering(self, phase: Phase) -> failing_in:
        """Set the phase; a context: errors of the library and the network inside become `Failed` in it."""
        self.phase = phase
        return failing_in(phase)

    @asynccontextmanager
    async def deadline(self, limit_s: float) -> AsyncIterator[None]:
        """Everything inside must end in time, or `Failed` is raised; until `lift_deadline` is called."""
        try:
            async with asyncio.timeout(limit_s) as deadline:
                self._deadline = deadline
                yield
        except TimeoutError:
            if not deadline.expired():
                raise  # somebody else's
            trouble = Trouble(self.phase, Fault.TIMEOUT, detail="the server took too long over the letter")
            raise Failed(trouble) from None

    def lift_deadline(self) -> None:
        """From here on nothing may be cut short."""
        if self._deadline is not None:
            self._deadline.reschedule(None)

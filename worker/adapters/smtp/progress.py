"""Tracks the phase of one letter's sending, and the duration of its stages."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from worker.adapters.smtp.errors import Failed, failing_in
from worker.delivery.instrumentation import NO_TRACING, Timed, Tracer
from worker.domain.transmission import DeliveryFailure, FailureKind
from worker.domain.vocabulary import Phase


class Progress:
    """The current phase and the seconds per stage; belongs to one call of `send`."""

    def __init__(self, monotonic: Callable[[], float], tracer: Tracer = NO_TRACING) -> None:
        self._monotonic = monotonic
        self._tracer = tracer
        self.phase = Phase.CONNECT
        self.timings_s: dict[str, float] = {}
        self._deadline: Deadline | None = None

    def stage(self, name: str) -> Timed:
        """Context manager: adds the time spent inside to the stage, and records a span."""
        return Timed(self._monotonic, self._tracer.span(f"smtp {name}"), partial(self._add, name))

    def _add(self, name: str, seconds: float) -> None:
        self.timings_s[name] = self.timings_s.get(name, 0.0) + seconds

    def entering(self, phase: Phase) -> failing_in:
        """Set the phase; a context in which errors of the library and the network become `Failed` in that phase."""
        self.phase = phase
        return failing_in(phase)

    def deadline(self, limit_s: float) -> "Deadline":
        """Context manager: raises `Failed` if the body exceeds the limit, until `lift_deadline` is called."""
        self._deadline = Deadline(self, limit_s)
        return self._deadline

    def lift_deadline(self) -> None:
        """Remove the deadline: nothing may be interrupted from here on."""
        if self._deadline is not None:
            self._deadline.lift()


class Deadline:
    """Cancels the task inside the context when the time is up, and raises `Failed` instead of the cancellation.

    A single-use `asyncio.timeout` at a third of its cost: every letter has one.
    """

    __slots__ = ("_is_over", "_limit_s", "_progress", "_requests", "_task", "_timer")

    def __init__(self, progress: Progress, limit_s: float) -> None:
        self._progress = progress
        self._limit_s = limit_s
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._requests = 0
        self._is_over = False

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        if self._task is None:
            raise RuntimeError("a deadline is kept inside of a task only")
        self._requests = self._task.cancelling()
        self._timer = asyncio.get_running_loop().call_later(self._limit_s, self._end)

    def __exit__(self, kind: type[BaseException] | None, _error: object, _traceback: object) -> None:
        self.lift()
        # A cancellation from elsewhere takes precedence.
        if self._is_over and self._is_taken_back() and kind is asyncio.CancelledError:
            detail = "the server took too long over the letter"
            raise Failed(DeliveryFailure(self._progress.phase, FailureKind.TIMEOUT, detail=detail)) from None

    def lift(self) -> None:
        """Remove the time limit for the rest of the body."""
        if self._timer is not None:
            self._timer.cancel()

    def _end(self) -> None:
        if self._task is not None:
            self._is_over = True
            self._task.cancel()

    def _is_taken_back(self) -> bool:
        return self._task is not None and self._task.uncancel() <= self._requests


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds per step, based on RFC 5321 section 4.5.3.2, shorter where a person waits for the answer.

    `letter_s` bounds everything before the final dot together (a server may drip its replies), so that together with
    `answer_s` a letter stays below the 30 minutes after which a broker requeues its delivery.
    """

    connect_s: float = 30.0
    greeting_s: float = 60.0
    tls_s: float = 30.0
    command_s: float = 60.0  # EHLO and each step of AUTH
    reset_s: float = 10.0
    mail_s: float = 300.0
    rcpt_s: float = 300.0
    data_s: float = 120.0
    upload_s: float = 60.0
    upload_bytes_per_s: float = 65_536.0
    letter_s: float = 900.0
    answer_s: float = 600.0  # section 4.5.3.2.6: shorter timeouts cause duplicates
    quit_s: float = 3.0

    def upload_limit_s(self, size_bytes: int) -> float:
        """The time limit for writing a letter of this size, at the slowest tolerated rate."""
        return self.upload_s + size_bytes / self.upload_bytes_per_s

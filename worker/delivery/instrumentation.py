"""What the delivery reports of its work: metrics, spans, and the oldest event's age. Telemetry implements it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import TracebackType
from typing import Protocol

import structlog

from worker.delivery.context import EventContext
from worker.domain.events.cloudevents import TraceContext, ids_of
from worker.domain.failure.classify import Classification
from worker.domain.slo import Promptness
from worker.domain.transmission import Transmission
from worker.domain.vocabulary import CopyOutcome, EventType, Outcome, Reason

_STEP_S = 10
_MANY_STEPS = 2_000  # more than wait in the longest delay queue at a time


class Timed:
    """One stay in a stage, also recorded as a span.

    A class, because every letter passes through a dozen of them: a generator would cost twice as much.
    """

    __slots__ = ("_began_s", "_ended", "_monotonic", "_span")

    def __init__(
        self, monotonic: Callable[[], float], span: AbstractContextManager[None], ended: Callable[[float], object]
    ) -> None:
        self._monotonic = monotonic
        self._span = span
        self._ended = ended
        self._began_s = 0.0

    def __enter__(self) -> None:
        self._began_s = self._monotonic()
        self._span.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._span.__exit__(kind, error, trace)
        self._ended(self._monotonic() - self._began_s)


@dataclass(frozen=True, slots=True)
class Subject:
    """The event that a message is about: ids only, never an address or a text."""

    event_id: str
    event_type: str
    account_id: str
    trace: TraceContext


class Tracer(Protocol):
    """Spans. `begin` starts a message's span, which lasts until the context of `message` ends."""

    def message(self, queue: str) -> AbstractContextManager[None]:
        """This task handles a message of the queue while the context lasts."""

    def begin(self, subject: Subject) -> TraceContext:
        """Name the message's subject once it is parsed; returns the span's own context, for logs."""

    def span(self, name: str) -> AbstractContextManager[None]:
        """A step of the work."""


class NoTracing:
    """No spans."""

    def __init__(self) -> None:
        self._nothing: AbstractContextManager[None] = nullcontext()

    def message(self, queue: str) -> AbstractContextManager[None]:
        del queue
        return self._nothing

    def begin(self, subject: Subject) -> TraceContext:
        return subject.trace

    def span(self, name: str) -> AbstractContextManager[None]:
        del name
        return self._nothing


NO_TRACING = NoTracing()


def begin_subject(tracer: Tracer, subject: Subject) -> None:
    """Name the event in everything that this task logs or traces from now on.

    Not only while it is handled: the consumer publishes and settles in the same task afterwards, and each message has
    a task of its own.
    """
    trace_id, span_id = ids_of(tracer.begin(subject))
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(
        event_id=subject.event_id, event_type=subject.event_type, account_id=subject.account_id
    )
    if trace_id is not None:
        traceparent = subject.trace.traceparent
        structlog.contextvars.bind_contextvars(trace_id=trace_id, span_id=span_id, traceparent=traceparent)


class Stage(StrEnum):
    """The timed parts of a letter's journey; a closed list, for metrics.

    `queue`: from the event's time until a worker first has it. `lane`: waiting for a place in the mailbox's lane.
    `files`: downloading those that are attached. The SMTP adapter measures the five of SMTP. `copy_queue`: from the
    letter until a worker first has the copy's order.
    """

    QUEUE = "queue"
    RESOLVE = "resolve"
    LANE = "lane"
    FILES = "files"
    COMPOSE = "compose"
    CONNECT = "connect"
    TLS = "tls"
    AUTH = "auth"
    MAIL = "mail"
    DATA = "data"
    COPY_QUEUE = "copy_queue"
    APPEND = "append"
    PUBLISH = "publish"


SETTLED = ("done", "split", "sent_away", "admitted", "invalid", "failed")
"""The possible outcomes of a message."""

CHECKED = ("good", "bad")
"""The outcomes of a mailbox check: its letters leave, or a step that they need failed."""


class Observer(Protocol):
    """Counts and times. Contains nothing of a tenant."""

    def settled(self, queue: str, event_type: EventType | None, outcome: str) -> None:
        """A message was settled; `outcome` is one of `SETTLED`."""

    def attempted(self, provider: str, transmission: Transmission) -> None:
        """An SMTP transaction ended."""

    def delivered(self, context: EventContext, recipients: int, at: datetime) -> None:
        """A mailbox's server accepted a letter for this many recipients."""

    def ended(self, context: EventContext, outcome: Outcome, why: Classification, recipients: int) -> None:
        """A letter was not accepted for this many recipients: deferred, failed, or uncertain."""

    def lost(self, recipients: int) -> None:
        """No letter will leave for this many recipients by itself: an operator has to act."""

    def repeated(self, outcome: Outcome, recipients: int) -> None:
        """A duplicate event: results of finished work are published again, verbatim."""

    def copied(self, provider: str, outcome: CopyOutcome, seconds: float, promptness: Promptness | None) -> None:
        """A copy finished, so many seconds after its letter; `promptness` None: none was wanted."""

    def copy_deferred(self, reason: Reason) -> None:
        """A copy was deferred, for the first time or for a new reason."""

    def checked(self, outcome: str, seconds: float) -> None:
        """A mailbox check ended after so many seconds; `outcome` is one of `CHECKED`."""

    def timed(self, stage: Stage, seconds: float) -> None:
        """A stage took this long."""

    def stage(self, stage: Stage) -> AbstractContextManager[None]:
        """Times the stage inside the context, however it ends."""

    def buried(self, reason: Reason) -> None:
        """A message was dead-lettered."""


class Unfinished:
    """Remembers the times of events in work, and of deferred ones until they are due.

    Once due, they are in the work queue, and the next worker to take them tracks them. Deferred events are remembered
    by the oldest one due in each ten seconds, so that a backlog of a hundred thousand costs no more than one of ten.
    """

    def __init__(self) -> None:
        self._in_work: dict[object, datetime] = {}
        self._put_off: dict[int, datetime] = {}

    @contextmanager
    def working_on(self, event_time: datetime) -> Iterator[None]:
        """The event is in work inside the context."""
        key = object()
        self._in_work[key] = event_time
        try:
            yield
        finally:
            del self._in_work[key]

    def put_off(self, event_time: datetime, due: datetime) -> None:
        """The event, or its remaining work, waits in a delay queue."""
        step = int(due.timestamp()) // _STEP_S
        self._put_off[step] = min(event_time, self._put_off.get(step, event_time))
        if len(self._put_off) > _MANY_STEPS:  # no reader prunes them
            self._forget_before(step - _MANY_STEPS // 2)

    def oldest_age_s(self, now: datetime) -> float:
        """Age of the oldest event in seconds; 0 when there is none."""
        self._forget_before(int(now.timestamp()) // _STEP_S)
        oldest = min([*self._in_work.values(), *self._put_off.values()], default=now)
        return max((now - oldest) / timedelta(seconds=1), 0.0)

    def _forget_before(self, this_step: int) -> None:
        for step in [step for step in self._put_off if step < this_step]:
            del self._put_off[step]

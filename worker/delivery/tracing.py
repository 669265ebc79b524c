"""Where a message's work is told apart step by step, for those who trace requests through several systems.

The telemetry implements it over OpenTelemetry; without that, nothing is done and next to nothing costs.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import structlog

from worker.domain.trace_context import TraceContext, ids_of


@dataclass(frozen=True, slots=True)
class Subject:
    """The event that a message is about: ids alone, never an address or a text."""

    event_id: str
    event_type: str
    account_id: str
    trace: TraceContext


class Tracer(Protocol):
    """Spans. A message's span is begun by `begin`, and lasts until the context of `message` ends."""

    def message(self, queue: str) -> AbstractContextManager[None]:
        """A message of the queue is in work in this task while the context lasts."""

    def begin(self, subject: Subject) -> TraceContext:
        """Say what the message is about, once it can be read; gives the span's own context, for logs."""

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
    """Have all that this task says from now on name the event, in logs and spans.

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

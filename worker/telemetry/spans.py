"""OpenTelemetry spans: one per message, from arrival to settlement, and one per stage.

Attributes hold ids only. Error texts are not recorded, because a server's reply may repeat addresses.
"""

import ssl
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, Token
from dataclasses import dataclass

from opentelemetry import context as otel_context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, format_span_id, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from worker.delivery.instrumentation import Subject
from worker.domain.events.cloudevents import TraceContext
from worker.telemetry.otlp_session import session

_KINDS = {"publish": SpanKind.PRODUCER, "smtp": SpanKind.CLIENT, "append": SpanKind.CLIENT}
_PROPAGATOR = TraceContextTextMapPropagator()


def exporting_provider(version: str, tls: ssl.SSLContext) -> TracerProvider:
    """Create a provider that exports spans; the standard `OTEL_…` variables set endpoint, sampling and service name.

    `tls` is for a collector over HTTPS; certificates named in `OTEL_EXPORTER_OTLP_…` are used in addition.
    """
    provider = TracerProvider(resource=_resource(version))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(session=session(tls))))
    return provider


def _resource(version: str) -> Resource:
    """The resource of the spans; a service name in the environment overrides ours."""
    named = OTELResourceDetector().detect()
    return Resource.create({SERVICE_NAME: "sendas", SERVICE_VERSION: version, **named.attributes})


@dataclass(slots=True)
class _Message:
    """A message in progress, and its span once its subject is known."""

    queue: str
    came_at_ns: int
    span: Span | None = None
    token: "Token[otel_context.Context] | None" = None


_current: ContextVar[_Message | None] = ContextVar("message", default=None)


class SpanTracer:
    """Implements `delivery.instrumentation.Tracer`."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("sendas")

    @contextmanager
    def message(self, queue: str) -> Iterator[None]:
        message = _Message(queue, time.time_ns())
        before = _current.set(message)
        try:
            with self._naming_errors(message):
                yield
        finally:
            _current.reset(before)
            if message.token is not None:
                otel_context.detach(message.token)
            if message.span is not None:
                message.span.end()

    @contextmanager
    def _naming_errors(self, message: _Message) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            if message.span is not None:
                _mark(message.span, error)
            raise

    def begin(self, subject: Subject) -> TraceContext:
        message = _current.get()
        if message is None:
            return subject.trace
        if message.span is None:
            self._start(message, subject)
        else:
            message.span.add_event("again")  # a dependency was unavailable
        return _context_of(message.span) if message.span is not None else subject.trace

    def _start(self, message: _Message, subject: Subject) -> None:
        carrier = {"traceparent": subject.trace.traceparent, "tracestate": subject.trace.tracestate}
        parent = _PROPAGATOR.extract({name: value for name, value in carrier.items() if value is not None})
        message.span = self._tracer.start_span(
            f"process {message.queue}",
            parent,
            SpanKind.CONSUMER,
            {
                "messaging.system": "rabbitmq",
                "messaging.operation.type": "process",
                "messaging.destination.name": message.queue,
                "sendas.event.id": subject.event_id,
                "sendas.event.type": subject.event_type,
                "sendas.account.id": subject.account_id,
            },
            start_time=message.came_at_ns,
        )
        message.token = otel_context.attach(set_span_in_context(message.span))

    def span(self, name: str) -> AbstractContextManager[None]:
        message = _current.get()
        return nullcontext() if message is None or message.span is None else self._step(name)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        with self._tracer.start_as_current_span(
            name, kind=_KINDS.get(name, SpanKind.INTERNAL), record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except BaseException as error:
                _mark(span, error)
                raise


def _mark(span: Span, error: BaseException) -> None:
    span.set_status(Status(StatusCode.ERROR))
    span.set_attribute("error.type", type(error).__name__)


def _context_of(span: Span) -> TraceContext:
    context = span.get_span_context()
    ids = f"{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}"
    return TraceContext(f"00-{ids}-{int(context.trace_flags):02x}")

"""Spans: one for each message and each of its stages, in the trace that the event came with, and with ids alone."""

import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id
from prometheus_client import CollectorRegistry

from tests.builders import a_comment_event
from tests.delivery_world import TOPOLOGY, DeliveryWorld, an_arrival
from worker.delivery.instrumentation import NO_TRACING, Subject
from worker.delivery.messages import Arrival
from worker.delivery.wiring import build_delivery
from worker.domain.events.cloudevents import TraceContext, ids_of
from worker.errors import ConfigurationError, Unavailable
from worker.telemetry.metrics import Metrics
from worker.telemetry.observer import MetricsObserver
from worker.telemetry.spans import SpanTracer
from worker.telemetry.tracing import tracing

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"
SUBJECT = Subject("evt-1", "comment.created", "acme", TraceContext(TRACEPARENT, "vendor=1"))
CANARY = "canary"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """Keeps what is exported."""
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter: InMemorySpanExporter) -> SpanTracer:
    """A tracer whose spans are in the exporter as soon as they end."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return SpanTracer(provider)


@pytest.fixture(autouse=True)
def _no_context_left() -> Iterator[None]:
    yield
    structlog.contextvars.clear_contextvars()


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def parent_id(span: ReadableSpan) -> str | None:
    return None if span.parent is None else format_span_id(span.parent.span_id)


def own_id(span: ReadableSpan) -> str:
    context = span.get_span_context()
    assert context is not None
    return format_span_id(context.span_id)


def test_a_message_is_one_span_in_the_trace_of_its_event(tracer: SpanTracer, exporter: InMemorySpanExporter) -> None:
    """If an event has a trace, then its message's span is a child in it, and the stages are children of that."""
    with tracer.message("sendas.outbound"):
        context = tracer.begin(SUBJECT)
        with tracer.span("resolve"), tracer.span("inner"):
            pass
        with tracer.span("publish"):
            pass
    spans = by_name(exporter)
    message = spans["process sendas.outbound"]
    assert {format_trace_id(span.context.trace_id) for span in spans.values() if span.context} == {TRACE_ID}
    assert (message.kind, parent_id(message)) == (SpanKind.CONSUMER, PARENT_ID)
    assert ids_of(context) == (TRACE_ID, own_id(message))
    assert parent_id(spans["resolve"]) == parent_id(spans["publish"]) == own_id(message)
    assert parent_id(spans["inner"]) == own_id(spans["resolve"])
    assert spans["publish"].kind is SpanKind.PRODUCER
    assert message.status.status_code is StatusCode.UNSET


def test_a_message_that_is_begun_again_stays_one_span(tracer: SpanTracer, exporter: InMemorySpanExporter) -> None:
    """If the ledger was away and the message is handled once more, then that is noted in the one span."""
    with tracer.message("sendas.outbound"):
        first = tracer.begin(SUBJECT)
        assert tracer.begin(SUBJECT) == first
    [span] = exporter.get_finished_spans()
    assert [event.name for event in span.events] == ["again"]


def test_two_messages_are_two_spans(tracer: SpanTracer, exporter: InMemorySpanExporter) -> None:
    """If a second message follows in the same task, then nothing of the first goes on in it."""
    for event_id in ("evt-1", "evt-2"):
        with tracer.message("sendas.outbound"):
            tracer.begin(replace(SUBJECT, event_id=event_id, trace=TraceContext()))
    first, second = exporter.get_finished_spans()
    assert parent_id(first) is parent_id(second) is None
    assert first.context != second.context


def test_outside_of_a_message_there_are_no_spans(tracer: SpanTracer, exporter: InMemorySpanExporter) -> None:
    """If no message is in work, or it is not known what it is about, then there is nothing to be told."""
    assert tracer.begin(SUBJECT) == SUBJECT.trace
    with tracer.span("smtp"):
        pass
    with tracer.message("sendas.outbound"), tracer.span("resolve"):
        pass
    assert exporter.get_finished_spans() == ()


def test_an_error_is_named_without_its_words(tracer: SpanTracer, exporter: InMemorySpanExporter) -> None:
    """If a stage fails, then its span says what kind of error it was, and never repeats what a server said."""

    def fail() -> None:
        with tracer.message("sendas.outbound"):
            tracer.begin(SUBJECT)
            with tracer.span("smtp"):
                raise Unavailable(CANARY)

    with pytest.raises(Unavailable):
        fail()
    spans = exporter.get_finished_spans()
    assert {span.status.status_code for span in spans} == {StatusCode.ERROR}
    assert {(span.attributes or {})["error.type"] for span in spans} == {"Unavailable"}
    assert CANARY not in "".join(span.to_json() for span in spans)


async def test_a_letter_and_its_copy_are_traced_and_hold_no_address(
    tracer: SpanTracer, exporter: InMemorySpanExporter
) -> None:
    """If a letter is sent and its copy saved, then both are in the event's trace, and so are their results."""
    world = DeliveryWorld()
    observer = MetricsObserver(Metrics(CollectorRegistry()), tracer)
    delivery = build_delivery(replace(world.services(world.ledger), observer=observer, tracer=tracer))
    event = replace(a_comment_event(), traceparent=TRACEPARENT)
    arrival = with_trace(an_arrival(event))
    with tracer.message(arrival.queue):
        publications = list(await delivery.pipeline.handle(arrival))
        assert structlog.contextvars.get_contextvars()["trace_id"] == TRACE_ID
    [order] = [p for p in publications if p.routing_key.startswith(TOPOLOGY.sent_copy)]
    with tracer.message(TOPOLOGY.sent_copy):
        publications += await delivery.copies.handle(
            Arrival(TOPOLOGY.sent_copy, order.body, dict(order.headers), order.content_type)
        )
        named = structlog.contextvars.get_contextvars()
    spans = exporter.get_finished_spans()
    assert {span.name for span in spans} >= {
        "process sendas.outbound", "process sendas.sent-copy", "resolve", "compose", "append",
    }  # fmt: skip
    assert {format_trace_id(span.context.trace_id) for span in spans if span.context} == {TRACE_ID}
    assert named["span_id"] == own_id(by_name(exporter)["process sendas.sent-copy"])
    results = [publication for publication in publications if publication.type]
    assert len(results) == 2
    assert {result.headers["ce-traceparent"] for result in results} == {TRACEPARENT}
    told = "".join(span.to_json() for span in spans)
    for private in ("@", "client", "Клиент", "Ремонт", "Мастер", "smtp.acme.example"):
        assert private not in told


def with_trace(arrival: Arrival) -> Arrival:
    return replace(arrival, headers={**arrival.headers, "traceparent": TRACEPARENT})


def test_without_tracing_nothing_is_made() -> None:
    """If tracing is off, then every span is the same object that does nothing, and logs name the event's own trace."""
    assert NO_TRACING.span("smtp") is NO_TRACING.span("publish") is NO_TRACING.message("q")
    assert NO_TRACING.begin(SUBJECT) is SUBJECT.trace


def test_without_tracing_its_libraries_are_not_even_imported() -> None:
    """If tracing is off, then a whole worker starts without a line of OpenTelemetry."""
    code = "import sys, worker.process; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


async def test_tracing_without_its_libraries_is_a_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """If tracing is on and OpenTelemetry is not installed, then the start ends with what to install."""
    monkeypatch.delitem(sys.modules, "worker.telemetry.spans")
    monkeypatch.delattr("worker.telemetry.spans")
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigurationError, match=r"SENDAS_TRACING: .* install sendas\[tracing\]"):
        async with tracing(True, "1", ssl.create_default_context):
            pass

"""What tracing costs one message: begin it, go through eight stages, end it. Off, and on without an exporter.

python -m bench.tracing [--messages 20000]
"""

import argparse
import sys
import time

from worker.delivery.instrumentation import NO_TRACING, Subject, Tracer
from worker.domain.events.cloudevents import TraceContext

_STAGES = ("resolve", "compose", "smtp", "smtp mail", "smtp data", "append", "publish", "lane")
_TRACE = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
_SUBJECT = Subject("evt-1", "comment.created", "acme", _TRACE)


def microseconds_per_message(tracer: Tracer, messages: int) -> float:
    """The mean over so many messages."""
    began = time.perf_counter()
    for _ in range(messages):
        with tracer.message("sendas.outbound"):
            tracer.begin(_SUBJECT)
            for stage in _STAGES:
                with tracer.span(stage):
                    pass
    return (time.perf_counter() - began) / messages * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    messages = parser.parse_args().messages
    off = microseconds_per_message(NO_TRACING, messages)
    imported = any(name.startswith("opentelemetry") for name in sys.modules)
    print(f"off  {off:8.2f} µs a message   OpenTelemetry imported: {'yes' if imported else 'no'}")

    from opentelemetry.sdk.trace import TracerProvider

    from worker.telemetry.spans import SpanTracer

    tracer = SpanTracer(TracerProvider(shutdown_on_exit=False))
    print(f"on   {microseconds_per_message(tracer, messages):8.2f} µs a message   made and dropped, not exported")


if __name__ == "__main__":
    main()

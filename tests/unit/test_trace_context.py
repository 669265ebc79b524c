"""W3C Trace Context: carried when it is well-formed, dropped when it is not."""

import pytest

from worker.domain.events.cloudevents import TraceContext, trace_context

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize("traceparent", [f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00", f"cc-{TRACE}-{SPAN}-01-new"])
def test_a_well_formed_one_is_carried_with_its_state(traceparent: str) -> None:
    assert trace_context(traceparent, "congo=t61rcWkgMzE") == TraceContext(traceparent, "congo=t61rcWkgMzE")


@pytest.mark.parametrize(
    "traceparent",
    [
        None,
        7,
        "",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-new",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01\r\nX: y",
        f"cc-{TRACE}-{SPAN}-01-" + "x" * 200,
    ],
)
def test_a_malformed_one_is_dropped_and_its_state_with_it(traceparent: object) -> None:
    assert trace_context(traceparent, "congo=t61rcWkgMzE") == TraceContext()


@pytest.mark.parametrize("tracestate", ["", "a=\n", "ключ=1", "x" * 513, 5])
def test_a_malformed_state_is_dropped_alone(tracestate: object) -> None:
    assert trace_context(f"00-{TRACE}-{SPAN}-01", tracestate) == TraceContext(f"00-{TRACE}-{SPAN}-01")

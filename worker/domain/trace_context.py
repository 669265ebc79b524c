"""W3C Trace Context: what is carried from an event to its results. What is malformed is dropped, never an error."""

import re
from dataclasses import dataclass

_TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[\x21-\x7e]*)?"
)
_TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")
_MAX_TRACEPARENT_CHARS = 200


@dataclass(frozen=True, slots=True)
class TraceContext:
    """`traceparent` (section 3.2) and `tracestate` (section 3.3), checked; the second never without the first."""

    traceparent: str | None = None
    tracestate: str | None = None


def ids_of(trace: TraceContext) -> tuple[str | None, str | None]:
    """The ids of the trace and of its last span, as 32 and 16 hexadecimal digits; None without a trace."""
    if trace.traceparent is None:
        return None, None
    _, trace_id, span_id, *_ = trace.traceparent.split("-")
    return trace_id, span_id


def trace_context(traceparent: object, tracestate: object = None) -> TraceContext:
    """The two, each None when it is absent or malformed."""
    if not isinstance(traceparent, str) or len(traceparent) > _MAX_TRACEPARENT_CHARS:
        return TraceContext()
    match = _TRACEPARENT.fullmatch(traceparent.strip(" "))
    # Only versions after 00 may have more fields.
    if match is None or (match[1] == "00" and match[2] is not None):
        return TraceContext()
    is_state_valid = isinstance(tracestate, str) and _TRACESTATE.fullmatch(tracestate)
    return TraceContext(match[0], tracestate if is_state_valid and isinstance(tracestate, str) else None)

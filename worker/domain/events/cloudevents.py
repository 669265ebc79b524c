"""CloudEvents 1.0 over AMQP: parses an event from a message, in structured or in binary mode.

Whatever arrives, the outcome is an event or `InvalidEvent`, whose text names the problem and its location, and never
repeats a value: it goes to logs and to people who may not read the letter. W3C Trace Context is copied to the results;
a malformed one is dropped and never an error.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import TypeAdapter, ValidationError

from worker.domain.events.models import (
    CommentCreated,
    ConfigurationChanged,
    Data,
    Event,
    Moment,
    NewMailboxCheck,
    SavedMailboxCheck,
    TaskCreated,
)
from worker.domain.events.strict_json import read_json
from worker.domain.text import Token, one_line
from worker.domain.vocabulary import EventType
from worker.errors import InvalidEvent

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
    """Check both; each is None when absent or malformed."""
    if not isinstance(traceparent, str) or len(traceparent) > _MAX_TRACEPARENT_CHARS:
        return TraceContext()
    match = _TRACEPARENT.fullmatch(traceparent.strip(" "))
    # Only versions after 00 may have more fields.
    if match is None or (match[1] == "00" and match[2] is not None):
        return TraceContext()
    is_state_valid = isinstance(tracestate, str) and _TRACESTATE.fullmatch(tracestate)
    return TraceContext(match[0], tracestate if is_state_valid and isinstance(tracestate, str) else None)


MAX_ERROR_CHARS = 500
STRUCTURED = "application/cloudevents+json"

_MAX_MEDIA_TYPE_CHARS = 255  # as long as AMQP's own property
_HEADER = re.compile(r"(?:ce-|cloudevents[_:])([a-z0-9]+)", re.IGNORECASE)
_SPEC_VERSION = re.compile(r"1\.[0-9]{1,3}")
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d.{0,30}")
_TOKEN: TypeAdapter[str] = TypeAdapter(Token)
_PLAIN_ATTRIBUTE = re.compile("[!-~]{1,1000}")  # certainly a token, without asking the model
_MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)
# JSON's terms where pydantic uses Python's, or repeats the value.
_WORDING = {
    "missing": "missing",
    "model_type": "not an object",
    "tuple_type": "not an array",
    "string_type": "not a string",
    "none_required": "must be absent here",
    "string_unicode": "not valid Unicode",
    "too_short": "fewer than {min_length} items",
    "too_long": "more than {max_length} items",
    "union_tag_invalid": "not one of the known values",
    "union_tag_not_found": "{discriminator} is missing",
}

Attributes = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message split up, before its data is checked; `data` is the decoded JSON, None when there is none."""

    attributes: Attributes
    data: object


def parse(headers: Mapping[str, object], content_type: str | None, body: bytes) -> Event[Data]:
    """Parse the event that a message carries.

    Args:
        headers: the message's headers with the values that AMQP gave them.
        content_type: the message's content type.
        body: JSON in UTF-8.

    Raises:
        InvalidEvent: when it carries none; its text is one line of at most 500 characters.
    """
    try:
        envelope = _open(headers, content_type, body)
        return _event(envelope, trace_of(headers, envelope.attributes))
    except InvalidEvent as error:
        raise InvalidEvent(one_line(str(error))[:MAX_ERROR_CHARS]) from None


def attributes_of(headers: Mapping[str, object]) -> dict[str, object]:
    """The CloudEvents attributes among a message's headers, under each prefix that producers use.

    Raises:
        InvalidEvent: when two headers give one attribute different values.
    """
    attributes: dict[str, object] = {}
    for name, value in headers.items():
        match = _HEADER.fullmatch(name) if isinstance(name, str) else None
        if match is None or value is None:
            continue
        attribute, text = match[1].lower(), attribute_text(value)
        if attributes.setdefault(attribute, text) != text:
            raise InvalidEvent(f"{attribute}: two headers give it different values")
    return attributes


def _open(headers: Mapping[str, object], content_type: str | None, body: bytes) -> Envelope:
    media_type = _media_type(content_type, "content type")
    if media_type == STRUCTURED:
        return _open_structured(body)
    if media_type == "application/cloudevents-batch+json":
        raise InvalidEvent("content type: batches are not accepted, send one event per message")
    attributes = attributes_of(headers)
    if not attributes:
        return _open_structured(body)
    _require_json(media_type, "content type")
    return Envelope(attributes, read_json(body) if body else None)


def _open_structured(body: bytes) -> Envelope:
    document = read_json(body)
    if not isinstance(document, dict):
        raise InvalidEvent("body: an event is a JSON object")
    attributes = {name: value for name, value in document.items() if value is not None}
    _require_json(_media_type(attributes.get("datacontenttype"), "datacontenttype"), "datacontenttype")
    data, encoded = attributes.pop("data", None), attributes.pop("data_base64", None)
    if encoded is None:
        return Envelope(attributes, data)
    if data is not None:
        raise InvalidEvent("data: only one of data and data_base64 can be given")
    return Envelope(attributes, read_json(_base64(encoded)))


def _base64(encoded: object) -> bytes:
    try:
        if isinstance(encoded, str):
            return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise InvalidEvent("data_base64: not base64")


def _media_type(content_type: object, where: str) -> str | None:
    """The type in lower case without parameters, None when there is none."""
    if content_type is None:
        return None
    if not isinstance(content_type, str):
        raise InvalidEvent(f"{where}: not a string")
    if len(content_type) > _MAX_MEDIA_TYPE_CHARS:
        raise InvalidEvent(f"{where}: too long")
    media_type, _, parameters = content_type.lower().partition(";")
    for parameter in parameters.split(";") if parameters else ():
        name, _, value = parameter.strip().partition("=")
        if name.strip() == "charset" and value.strip(' "') not in ("utf-8", "utf8", "us-ascii"):
            raise InvalidEvent(f"{where}: only UTF-8 is accepted")
    return media_type.strip() or None


def _require_json(media_type: str | None, where: str) -> None:
    if media_type not in (None, "application/json", "text/json") and not str(media_type).endswith("+json"):
        raise InvalidEvent(f"{where}: only JSON is accepted")


def _event(envelope: Envelope, trace: TraceContext) -> Event[Data]:
    attributes = envelope.attributes
    if not _SPEC_VERSION.fullmatch(_attribute(attributes, "specversion")):
        raise InvalidEvent("specversion: only 1.0 is accepted")
    event_id, source = _attribute(attributes, "id"), _attribute(attributes, "source")
    event_type = _event_type(_attribute(attributes, "type"))
    return Event(
        id=event_id,
        source=source,
        type=event_type,
        time=_time(attributes),
        data=_data(event_type, envelope.data),
        traceparent=trace.traceparent,
        tracestate=trace.tracestate,
    )


def _attribute(attributes: Attributes, name: str) -> str:
    if name not in attributes:
        raise InvalidEvent(f"{name}: missing")
    value = attributes[name]
    if isinstance(value, str) and _PLAIN_ATTRIBUTE.fullmatch(value):
        return value
    try:
        return _TOKEN.validate_python(attribute_text(value))
    except ValidationError as error:
        raise _invalid(error, name) from None


def attribute_text(value: object) -> object:
    """An attribute's value as text; AMQP has its own types (CloudEvents AMQP binding 3.1)."""
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "surrogateescape")  # a later check refuses what is not UTF-8
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 1 << 64 else value
    return value


def _event_type(name: str) -> EventType:
    try:
        return EventType(name)
    except ValueError:
        raise InvalidEvent(f"type: {_shown(name)} is not known") from None


def _time(attributes: Attributes) -> datetime:
    text = _attribute(attributes, "time")
    if not _DATE_TIME.fullmatch(text):
        raise InvalidEvent("time: not a date and time of RFC 3339")
    try:
        return _MOMENT.validate_python(text)
    except ValidationError as error:
        raise _invalid(error, "time") from None


def _data(event_type: EventType, data: object) -> Data:
    if data is None:
        raise InvalidEvent("data: missing")
    try:
        match event_type:
            case EventType.COMMENT_CREATED:
                return CommentCreated.model_validate(data)
            case EventType.TASK_CREATED:
                return TaskCreated.model_validate(data)
            case EventType.CONFIGURATION_CHANGED:
                return ConfigurationChanged.model_validate(data)
            case EventType.MAILBOX_CHECK_REQUESTED:
                is_new = isinstance(data, dict) and data.get("mailbox") is not None
                return (NewMailboxCheck if is_new else SavedMailboxCheck).model_validate(data)
    except ValidationError as error:
        raise _invalid(error, "data") from None


def _invalid(error: ValidationError, where: str) -> InvalidEvent:
    """The first problem, with its path."""
    first = error.errors(include_url=False, include_input=False)[0]
    path = where
    for part in first["loc"]:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not part[:1].isupper():  # the name of a model, not of a field: which variant was tried
            path += f".{part}"
    what = first["msg"].removeprefix("Value error, ").partition(": ")[0]  # the rest may quote the value
    if wording := _WORDING.get(first["type"]):
        what = wording.format_map(first.get("ctx", {}))
    return InvalidEvent(f"{path}: {what}")


def _shown(name: str) -> str:
    return repr(one_line(name[:200])[:60])


def trace_of(headers: Mapping[str, object], attributes: Attributes) -> TraceContext:
    """The trace that a message belongs to."""
    # Instrumented brokers and clients write the bare header; the event's own extension attribute takes precedence.
    given = [
        (attribute_text(source.get("traceparent")), attribute_text(source.get("tracestate")))
        for source in (attributes, headers)
        if source.get("traceparent") is not None
    ]
    return trace_context(*given[0]) if given else TraceContext()

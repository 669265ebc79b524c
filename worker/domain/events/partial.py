"""What is still readable of an invalid event, so that its producer gets a result about the failure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from worker.domain.addresses import EmailAddress
from worker.domain.events.cloudevents import STRUCTURED, TraceContext, attribute_text, attributes_of, trace_of
from worker.domain.events.models import MAX_RECIPIENTS
from worker.domain.events.strict_json import read_what_can_be
from worker.domain.text import Token
from worker.errors import InvalidEvent

_TOKEN: TypeAdapter[str] = TypeAdapter(Token)
_ADDRESS: TypeAdapter[str] = TypeAdapter(EmailAddress)


@dataclass(frozen=True, slots=True)
class Salvaged:
    """The readable parts of an invalid event; each is checked as in a valid one, or None."""

    id: str
    source: str
    type: str
    account_id: str | None = None
    task_id: str | None = None
    comment_id: str | None = None
    addresses: tuple[str, ...] = ()
    trace: TraceContext = field(default_factory=TraceContext)


def salvage(headers: Mapping[str, object], content_type: str | None, body: bytes) -> Salvaged | None:
    """The identity of an event that `cloudevents.parse` refused; None without id, source and type. Never raises."""
    attributes, data = _parts(headers, content_type, read_what_can_be(body))
    event_id, source, event_type = (_token(attributes.get(name)) for name in ("id", "source", "type"))
    if event_id is None or source is None or event_type is None:
        return None
    return Salvaged(
        id=event_id,
        source=source,
        type=event_type,
        account_id=_token(_in(data, "account_id")),
        task_id=_token(_in(_in(data, "task"), "id")),
        comment_id=_token(_in(_in(data, "comment"), "id")),
        addresses=_addresses(_in(data, "recipients")),
        trace=trace_of(headers, attributes),
    )


def _parts(headers: Mapping[str, object], content_type: object, document: object) -> tuple[Mapping[str, Any], object]:
    try:
        attributes = attributes_of(headers)
    except InvalidEvent:
        attributes = {}
    is_structured = isinstance(content_type, str) and content_type.strip().lower().startswith(STRUCTURED)
    if isinstance(document, dict) and (is_structured or not attributes):
        return {**attributes, **document}, document.get("data")
    return attributes, document


def _in(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _token(value: object) -> str | None:
    try:
        return _TOKEN.validate_python(attribute_text(value))
    except ValidationError:
        return None


def _addresses(recipients: object) -> tuple[str, ...]:
    found = []
    for recipient in recipients[:MAX_RECIPIENTS] if isinstance(recipients, list) else []:
        try:
            found.append(_ADDRESS.validate_python(_in(recipient, "address")))
        except ValidationError:
            continue
    return tuple(found)

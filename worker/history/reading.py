"""Parses a published result, as the broker delivers it, into a record."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from pydantic_core import from_json

from worker.domain.events.models import MAX_RECIPIENTS
from worker.domain.events.strict_json import MAX_BODY_BYTES, Unbounded, require_bounded
from worker.domain.text import one_line
from worker.errors import InvalidEvent
from worker.history.addresses import AddressPolicy
from worker.history.model import Record, key

MAX_BODY_CHARS = 200_000
"""Longest body stored whole, as JSON characters: fits a letter to 1,000 recipients with a short reply for each."""

_KEPT_RECIPIENTS = 100
_SHORT_CHARS = 2_000
_ESCAPED, _DIGESTED = 6, 13  # growth per byte: escaping a control character, then replacing addresses by digests
_MAX_TIME_CHARS = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_AHEAD = timedelta(days=1)


def read_result(body: bytes, addresses: AddressPolicy, now: datetime) -> Record:
    """Parse a result in CloudEvents 1.0 structured mode, the only mode in which the worker publishes results.

    Raises:
        InvalidEvent: it is not a result; the text says why and repeats no value.
    """
    document = _document(body)
    if not isinstance(document, dict):
        raise InvalidEvent("body: a result is a JSON object")
    data = document.get("data")
    if not isinstance(data, dict):
        raise InvalidEvent("data: not an object")
    at = _time(document.get("time"))
    if at > now + _MAX_AHEAD:
        raise InvalidEvent("time: more than a day in the future")  # it would outlive the retention
    sender = data.get("sender")
    of_sender = sender if isinstance(sender, dict) else {}
    return Record(
        id=_required(document, "id"),
        type=_required(document, "type"),
        at=at,
        account_id=_key(data, "account_id"),
        event_id=_key(data, "event_id"),
        event_type=_key(data, "event_type"),
        task_id=_key(data, "task_id"),
        comment_id=_key(data, "comment_id"),
        mailbox_id=_key(data, "mailbox_id") or _key(of_sender, "mailbox_id"),
        message_id=_key(data, "message_id"),
        addresses=tuple(dict.fromkeys(addresses.kept(each) for each in _addresses(data, of_sender))),
        reason=_key(data, "reason"),
        body=_kept(data, len(body), addresses),
    )


def _document(body: bytes) -> object:
    """Parse the JSON. Duplicate keys are harmless here: nothing acts on what a result says."""
    if len(body) > MAX_BODY_BYTES:
        raise InvalidEvent(f"body: {len(body)} bytes, more than {MAX_BODY_BYTES}")
    try:
        text = body.decode()
        require_bounded(text)
        return from_json(text, allow_inf_nan=False, cache_strings="keys")
    except Unbounded as error:
        raise InvalidEvent(f"body: {error}") from None
    except ValueError:
        raise InvalidEvent("body: not JSON") from None


def _required(document: Mapping[str, object], name: str) -> str:
    text = _key(document, name)
    if text is None:
        raise InvalidEvent(f"{name}: missing")
    return text


def _key(found: Mapping[str, object], name: str) -> str | None:
    value = found.get(name)
    return key(value) if isinstance(value, str) and value else None


def _time(text: object) -> datetime:
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) and len(text) <= _MAX_TIME_CHARS else None
        if at is not None and at.tzinfo is not None and at >= _EPOCH:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidEvent("time: not a date and time of RFC 3339")


def _addresses(data: Mapping[str, object], sender: Mapping[str, object]) -> Iterator[str]:
    recipients = data.get("recipients")
    for recipient in recipients[:MAX_RECIPIENTS] if isinstance(recipients, list) else ():
        if isinstance(recipient, dict):
            yield from _address(recipient)
    yield from _address(sender)
    yield from _address(data)


def _address(of: Mapping[str, object]) -> Iterator[str]:
    address = of.get("address")
    if isinstance(address, str) and address:
        yield address


def _kept(data: dict[str, object], size_bytes: int, addresses: AddressPolicy) -> dict[str, object]:
    """The body to store: bounded before addresses are searched for, and again because digests may lengthen it."""
    body, left_out = (data, []) if size_bytes * _ESCAPED <= MAX_BODY_CHARS else _bounded(data)
    body = addresses.body(body)
    if size_bytes * _DIGESTED > MAX_BODY_CHARS:
        body, more = _bounded(body)
        left_out += more
    return {**body, "left_out": left_out} if left_out else body


def _bounded(body: dict[str, object]) -> tuple[dict[str, object], list[str]]:
    """As much of a body as fits (first 100 recipients, then short members only), and the names of the rest."""
    if _chars(body) <= MAX_BODY_CHARS:
        return body, []
    left_out: list[str] = []
    recipients = body.get("recipients")
    if isinstance(recipients, list) and len(recipients) > _KEPT_RECIPIENTS:
        left_out.append(f"recipients: {len(recipients) - _KEPT_RECIPIENTS} of {len(recipients)}")
        body = {**body, "recipients": recipients[:_KEPT_RECIPIENTS]}
    if _chars(body) > MAX_BODY_CHARS:
        long = [name for name, value in body.items() if _chars(value) > _SHORT_CHARS]
        left_out += [one_line(name[:_SHORT_CHARS]) for name in long[:_KEPT_RECIPIENTS]]
        body = {name: value for name, value in body.items() if name not in set(long)}
    if _chars(body) > MAX_BODY_CHARS:  # thousands of short members: no result of ours
        return {}, ["all"]
    return body, left_out


def _chars(value: object) -> int:
    return len(json.dumps(value))

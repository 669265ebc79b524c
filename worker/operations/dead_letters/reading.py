"""Values in headers and bodies of dead letters, read without ever raising: anything can end in the dead queue."""

from datetime import UTC, datetime

from worker.domain.events.cloudevents import attribute_text
from worker.domain.text import one_line

_MAX_CHARS = 500


def member(value: object, name: str) -> object:
    """The object's member of this name; None when it has none, or is no object."""
    return value.get(name) if isinstance(value, dict) else None


def text(value: object) -> str | None:
    """A text on one line, at most 500 characters; None when it is none."""
    plain = attribute_text(value)
    return one_line(plain[:_MAX_CHARS]) or None if isinstance(plain, str) else None


def number(value: object) -> int:
    """A count in a header; 0 when it is none, or none that we wrote."""
    digits = str(value) if isinstance(value, int | str) else ""
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 10 else 0


def moment(value: object) -> datetime | None:
    """A moment in UTC; None when it is none."""
    try:
        given = value if isinstance(value, datetime) else datetime.fromisoformat(str(value)[:100])
        return (given if given.tzinfo else given.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None

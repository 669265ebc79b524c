"""Reads values from dead letters' headers and bodies without ever raising: the dead queue may contain anything."""

from datetime import UTC, datetime

from worker.domain.events.cloudevents import attribute_text
from worker.domain.text import one_line

_MAX_CHARS = 500


def member(value: object, name: str) -> object:
    """The object's member of this name; None if it has none, or is not an object."""
    return value.get(name) if isinstance(value, dict) else None


def text(value: object) -> str | None:
    """A string as one line of at most 500 characters; None for anything else."""
    plain = attribute_text(value)
    return one_line(plain[:_MAX_CHARS]) or None if isinstance(plain, str) else None


def number(value: object) -> int:
    """A counter from a header; 0 if it is missing or not one that a worker wrote."""
    digits = str(value) if isinstance(value, int | str) else ""
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 10 else 0


def moment(value: object) -> datetime | None:
    """A timestamp in UTC; None for anything else."""
    try:
        given = value if isinstance(value, datetime) else datetime.fromisoformat(str(value)[:100])
        return (given if given.tzinfo else given.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None

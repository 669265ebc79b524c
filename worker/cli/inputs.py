"""What commands read: event files, with one clear line when they cannot be read."""

import json
from pathlib import Path

from worker.domain.cloudevents import STRUCTURED, parse
from worker.domain.event import Data, Event
from worker.errors import ConfigurationError, InvalidEvent


def read_bytes(path: Path) -> bytes:
    """The contents of a file. Raises `ConfigurationError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None


def read_event(path: Path) -> tuple[Event[Data], bytes]:
    """An event in structured CloudEvents JSON, and its bytes. Raises `ConfigurationError`."""
    body = read_bytes(path)
    try:
        return parse({}, STRUCTURED, body), body
    except InvalidEvent as error:
        raise ConfigurationError(f"{path}: {error}") from None


def read_events(path: Path) -> list[bytes]:
    """The events of a file that holds one, a JSON array of them, or one a line. Raises `ConfigurationError`."""
    text = read_bytes(path)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # what is wrong with it is for the reader of events to say
        return [line for line in text.splitlines() if line.strip()]
    if isinstance(value, list):
        return [json.dumps(each, ensure_ascii=False).encode() for each in value]
    return [text]

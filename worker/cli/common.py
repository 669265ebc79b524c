"""What commands share: files read, output printed, the operator's name. No settings: some commands need none."""

import getpass
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from worker.domain.events.cloudevents import STRUCTURED, parse
from worker.domain.events.models import Data, Event
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


Json = Mapping[str, object]


def print_json(value: object) -> None:
    """One JSON value on standard output, readable, in UTF-8."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def print_line(text: str) -> None:
    """A line of the answer, on standard output."""
    print(text)


def print_bytes(content: bytes) -> None:
    """A letter as it is, on standard output."""
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def say(text: str) -> None:
    """A line for the person at the terminal, on standard error."""
    print(text, file=sys.stderr)


def user() -> str:
    """The user of the operating system."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return "unknown"

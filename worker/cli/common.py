"""Shared by commands: reading files, printing output, the operator's name. No settings: some commands need none."""

import getpass
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from worker.domain.events.cloudevents import STRUCTURED, parse
from worker.domain.events.models import Data, Event
from worker.errors import ConfigurationError, InvalidEvent


def read_bytes(path: Path) -> bytes:
    """Read a file. Raises `ConfigurationError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None


def read_event(path: Path) -> tuple[Event[Data], bytes]:
    """Read an event in structured CloudEvents JSON; returns it and its bytes. Raises `ConfigurationError`."""
    body = read_bytes(path)
    try:
        return parse({}, STRUCTURED, body), body
    except InvalidEvent as error:
        raise ConfigurationError(f"{path}: {error}") from None


def read_events(path: Path) -> list[bytes]:
    """Read a file of one event, a JSON array of events, or one event per line. Raises `ConfigurationError`."""
    text = read_bytes(path)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # parsing the events reports what is wrong
        return [line for line in text.splitlines() if line.strip()]
    if isinstance(value, list):
        return [json.dumps(each, ensure_ascii=False).encode() for each in value]
    return [text]


Json = Mapping[str, object]


def print_json(value: object) -> None:
    """Print a JSON value to standard output, indented, in UTF-8."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def print_line(text: str) -> None:
    """Print a line of the answer to standard output."""
    print(text)


def print_bytes(content: bytes) -> None:
    """Print a letter unchanged to standard output."""
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def say(text: str) -> None:
    """Print a line for the person at the terminal to standard error."""
    print(text, file=sys.stderr)


def user() -> str:
    """The operating system user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return "unknown"

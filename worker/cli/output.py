"""What commands print: results on standard output, everything else on standard error."""

import json
import sys
from collections.abc import Mapping

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

"""Messages and documents that must be read in the same way for ever, and others that must be refused as they are."""

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Message:
    """One file of `events` or `invalid`; `document` is all of it."""

    document: dict[str, Any]
    content_type: str | None
    headers: dict[str, object]
    body: bytes


def names(directory: str) -> list[str]:
    """The files of a directory without their suffix."""
    return sorted(path.stem for path in (HERE / directory).glob("*.json"))


def raw(directory: str, name: str) -> bytes:
    """A file as it is."""
    return (HERE / directory / f"{name}.json").read_bytes()


def message(directory: str, name: str) -> Message:
    """A message from its file.

    The body stands there as JSON (`body`), as text (`body_text`), as base64 (`body_base64`), or as a text and how
    often it is repeated (`body_repeat`).
    """
    document = json.loads(raw(directory, name))
    headers = {header: _amqp(value) for header, value in document["headers"].items()}
    return Message(document, document["content_type"], headers, _body(document))


def _amqp(value: Any) -> object:
    match value:
        case {"$bytes": text}:
            return str(text).encode()
        case {"$bytes_hex": text}:
            return bytes.fromhex(text)
        case {"$datetime": text}:
            return datetime.fromisoformat(text)
    return value


def _body(document: dict[str, Any]) -> bytes:
    match document:
        case {"body_text": str(text)}:
            return text.encode()
        case {"body_base64": str(text)}:
            return base64.b64decode(text)
        case {"body_repeat": [str(text), int(times)]}:
            return text.encode() * times
    return json.dumps(document["body"], ensure_ascii=False).encode()

"""Exports dead letters to a file, one complete JSON object per line, so that they can be imported again."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from worker.delivery.messages import Publication
from worker.errors import ConfigurationError
from worker.operations.dead_letters.carrying import as_publication
from worker.operations.dead_letters.death import lasting_headers
from worker.operations.dead_letters.queue import DeadMessage

SCHEMA = "sendas.dead-letter/v1"


@dataclass(frozen=True, slots=True)
class FiledMessage:
    """A message read from a file; implements `DeadMessage`."""

    place: int
    body: bytes
    headers: Mapping[str, object]
    properties: Mapping[str, object]


def to_line(message: DeadMessage) -> str:
    """Format a message as one line of a file, without the line break."""
    document = {
        "schema": SCHEMA,
        "properties": plain(message.properties),
        "headers": plain(message.headers),
        "body": base64.b64encode(message.body).decode(),
    }
    return json.dumps(document, ensure_ascii=True)


def from_line(line: str, number: int) -> FiledMessage:
    """Parse the message on a line.

    Raises:
        ConfigurationError: the line is not a message; the text gives its number.
    """
    try:
        document = json.loads(line)
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise ValueError(f"not an object of the schema {SCHEMA}")
        headers, properties = _rich(document["headers"]), _rich(document["properties"])
        if not isinstance(headers, dict) or not isinstance(properties, dict):
            raise ValueError("headers and properties are objects")
        return FiledMessage(number, base64.b64decode(document["body"], validate=True), headers, properties)
    except KeyError as error:
        raise ConfigurationError(f"line {number}: {error} is missing") from None
    except (ValueError, TypeError, RecursionError, binascii.Error) as error:
        raise ConfigurationError(f"line {number}: no dead letter: {' '.join(str(error).split())[:200]}") from None


def put_back(message: DeadMessage, queue: str) -> Publication:
    """Build the message for the dead queue. What the broker noted of the death is copied into the worker's headers."""
    return as_publication(message, queue, lasting_headers(message.headers))


def plain(value: object) -> object:
    """Convert AMQP values to JSON, which has fewer types."""
    match value:
        case Mapping():
            return {str(name): plain(each) for name, each in value.items()}
        case list() | tuple():
            return [plain(each) for each in value]
        case bytes() | bytearray():
            return {"$base64": base64.b64encode(bytes(value)).decode()}
        case datetime():
            return {"$time": value.isoformat()}
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)


def _rich(value: object) -> object:
    match value:
        case {"$base64": str(encoded), **rest} if not rest:
            return base64.b64decode(encoded, validate=True)
        case {"$time": str(text), **rest} if not rest:
            return datetime.fromisoformat(text)
        case dict():
            return {name: _rich(each) for name, each in value.items()}
        case list():
            return [_rich(each) for each in value]
        case _:
            return value

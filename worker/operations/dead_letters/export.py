"""Dead letters in a file: one JSON object a line, complete, so that they can be put back."""

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
    """A message from a file; a `DeadMessage`."""

    place: int
    body: bytes
    headers: Mapping[str, object]
    properties: Mapping[str, object]


def to_line(message: DeadMessage) -> str:
    """A message as one line of a file, without the line's end."""
    document = {
        "schema": SCHEMA,
        "properties": plain(message.properties),
        "headers": plain(message.headers),
        "body": base64.b64encode(message.body).decode(),
    }
    return json.dumps(document, ensure_ascii=True)


def from_line(line: str, number: int) -> FiledMessage:
    """The message that a line holds.

    Raises:
        ConfigurationError: it holds none; the text names the line.
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
    """The message for the dead queue. What the broker had noted of the death is noted in our own headers."""
    return as_publication(message, queue, lasting_headers(message.headers))


def plain(value: object) -> object:
    """JSON for what AMQP knows more types of."""
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

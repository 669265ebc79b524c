"""Dead letters in a file: one JSON object a line, complete, so that they can be put back."""

import asyncio
import base64
import binascii
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from worker.delivery.messages import Publication
from worker.delivery.signatures import Signatures
from worker.errors import ConfigurationError
from worker.operations.dead_letters.bulk import look
from worker.operations.dead_letters.carrying import as_publication
from worker.operations.dead_letters.death import lasting_headers
from worker.operations.dead_letters.digest import contents_of
from worker.operations.dead_letters.filter import Selection
from worker.operations.dead_letters.queue import DeadMessage, DeadQueue, Publish

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


_AT_ONCE = 100


class Filed:
    """A file's messages, read from its beginning each time they are gone through."""

    def __init__(self, lines: IO[str]) -> None:
        self._lines = lines
        self.count = sum(1 for _ in self)

    def __iter__(self) -> Iterator[FiledMessage]:
        self._lines.seek(0)
        for number, line in enumerate(self._lines, 1):
            if line.strip():
                yield from_line(line, number)


@dataclass(slots=True)
class Imported:
    """What an import came to, right at every moment of it: `read` letters stand in the file.

    `new` were published and confirmed, `already_there` are left out because the queue has as many of them.
    """

    read: int
    new: int = 0
    already_there: int = 0


@contextmanager
def read_filed(file: str) -> Iterator[Filed]:
    """The messages of a file, `-` for standard input; every line is checked before this gives anything.

    Raises:
        ConfigurationError: the file cannot be read, or a line of it is no dead letter.
    """
    with _opened(file) as lines:
        try:
            filed = Filed(lines)
        except UnicodeDecodeError:
            raise ConfigurationError(f"{file}: not UTF-8") from None
        except ConfigurationError as error:
            raise ConfigurationError(f"{file}: {error}") from None
        yield filed


def _opened(file: str) -> IO[str]:
    try:
        if file != "-":
            return Path(file).open(encoding="utf-8")
        copy = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - the caller closes it
        shutil.copyfileobj(sys.stdin, copy)
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file}: not UTF-8") from None
    return copy


async def put_all_back(
    queue: DeadQueue, publish: Publish, name: str, filed: Filed, imported: Imported, signatures: Signatures
) -> None:
    """Publish to the dead queue, by its name, what it lacks; each letter is confirmed by the broker.

    What a worker of this installation signed is signed again, as the broker's headers are left out; nothing else is.

    `imported` says what was done, also when this raises.
    """

    async def put(message: FiledMessage) -> None:
        publication = put_back(message, name)
        content_type = message.properties.get("content_type")
        if signatures.is_ours(message.headers, str(content_type) if content_type else None, message.body):
            publication = await signatures.signed(publication)
        await publish(publication)
        imported.new += 1

    there: Counter[str] = Counter()
    await look(queue, Selection(), None, lambda message, _: there.update((contents_of(message),)))
    waiting: list[FiledMessage] = []
    for message in filed:
        contents = contents_of(message)
        if there[contents] > 0:
            there[contents] -= 1
            imported.already_there += 1
            continue
        waiting.append(message)
        if len(waiting) == _AT_ONCE:
            await _publish_all(waiting, put)
    await _publish_all(waiting, put)


async def _publish_all(waiting: list[FiledMessage], put: Callable[[FiledMessage], Awaitable[None]]) -> None:
    """Publish all, and wait for each: the first error must not leave others on their way, uncounted."""
    ended = await asyncio.gather(*(put(message) for message in waiting), return_exceptions=True)
    waiting.clear()
    for each in ended:
        if each is not None:
            raise each

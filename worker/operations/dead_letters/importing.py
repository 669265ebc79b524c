"""Putting exported dead letters back, each as often as it was exported.

An import that was cut off is simply repeated: of equal letters only those are published that the queue lacks. So what
stands twice in a file, because two equal letters were there, is there twice afterwards, however often it is imported.
"""

import asyncio
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from worker.delivery.signatures import Signatures
from worker.errors import ConfigurationError
from worker.operations.dead_letters.bulk import look
from worker.operations.dead_letters.digest import contents_of
from worker.operations.dead_letters.export import FiledMessage, from_line, put_back
from worker.operations.dead_letters.filter import Selection
from worker.operations.dead_letters.queue import DeadQueue, Publish

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

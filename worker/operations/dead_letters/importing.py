"""Imports exported dead letters, each as many times as the export holds it.

An interrupted import is simply repeated: among equal letters, only those missing from the queue are published. A
letter that stands twice in the file, because two equal ones were exported, is there twice after any number of imports.
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
    """Messages of a file; every iteration reads it from the beginning."""

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
    """Progress of an import, correct at every moment: `read` counts the letters in the file.

    `new` were published and confirmed; `already_there` were skipped because the queue holds as many of them.
    """

    read: int
    new: int = 0
    already_there: int = 0


@contextmanager
def read_filed(file: str) -> Iterator[Filed]:
    """Read the messages of a file, `-` for standard input; all lines are checked before this yields anything.

    Raises:
        ConfigurationError: the file cannot be read, or one of its lines is not a dead letter.
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
    """Publish the letters that the dead queue lacks straight to it; the broker confirms each.

    Messages signed by a worker of this installation are signed again, because the broker's headers are dropped; others
    stay unsigned.

    `imported` holds the progress, also when this raises.
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
    """Publish all and wait for every one: the first error must not leave others in flight, uncounted."""
    ended = await asyncio.gather(*(put(message) for message in waiting), return_exceptions=True)
    waiting.clear()
    for each in ended:
        if each is not None:
            raise each

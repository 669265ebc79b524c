"""Putting exported dead letters back. A letter that is in the queue already is left out, so it can be repeated."""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from worker.errors import ConfigurationError
from worker.operations.dead_letters.file import FiledMessage, fingerprint, from_line, put_back
from worker.operations.dead_letters.looking import look
from worker.operations.dead_letters.queue import DeadQueue, Publish
from worker.operations.dead_letters.selection import Selection

_AT_ONCE = 100

Filed = Callable[[], Iterator[FiledMessage]]
"""Reads a file's messages from its beginning, each time it is called."""


@dataclass(frozen=True, slots=True)
class Imported:
    """How many letters were read, and how many of them were new to the queue."""

    read: int
    new: int


@contextmanager
def read_filed(file: str) -> Iterator[Filed]:
    """The messages of a file, `-` for standard input; every line is checked before this gives anything.

    Raises:
        ConfigurationError: the file cannot be read, or a line of it is no dead letter.
    """
    with _opened(file) as lines:

        def filed() -> Iterator[FiledMessage]:
            lines.seek(0)
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield from_line(line, number)

        try:
            for _ in filed():
                pass
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


async def put_all_back(queue: DeadQueue, publish: Publish, name: str, filed: Filed) -> Imported:
    """Publish to the dead queue, by its name, what is not in it yet; each letter is confirmed by the broker."""
    there: set[bytes] = set()
    await look(queue, Selection(), None, lambda message, _: there.add(fingerprint(message)))
    read = new = 0
    waiting: list[FiledMessage] = []
    for message in filed():
        read += 1
        mark = fingerprint(message)
        if mark not in there:
            there.add(mark)
            waiting.append(message)
            new += 1
        if len(waiting) == _AT_ONCE:
            await _publish_all(waiting, publish, name)
    await _publish_all(waiting, publish, name)
    return Imported(read, new)


async def _publish_all(waiting: list[FiledMessage], publish: Publish, name: str) -> None:
    await asyncio.gather(*(publish(put_back(message, name)) for message in waiting))
    waiting.clear()

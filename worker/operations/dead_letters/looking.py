"""Looking through the dead queue: everything stays in it, in its order."""

from collections.abc import Callable
from dataclasses import replace

from worker.errors import ConfigurationError
from worker.operations.dead_letters.digest import DIGEST_CHARS
from worker.operations.dead_letters.letter import DeadLetter, read_dead_letter
from worker.operations.dead_letters.queue import DeadMessage, DeadQueue
from worker.operations.dead_letters.selection import Selection

_AMBIGUOUS_SHOWN = 5

See = Callable[[DeadMessage, DeadLetter], None]


async def look(
    queue: DeadQueue,
    selection: Selection,
    limit: int | None,
    see: See,
    on_letter: Callable[[DeadLetter], None] = lambda _: None,
) -> int:
    """Show `see` the letters of a selection, at most `limit`, as many as are there now; returns how many it saw.

    `on_letter` is told of every letter that is passed, whether or not it is meant.

    `see` must not wait for anybody: the broker takes the messages back when nothing is heard of us for long.
    """
    seen = 0
    async with queue.take(await queue.size()) as taking:
        async for message in taking:
            taking.keep(message)
            letter = read_dead_letter(message)
            on_letter(letter)
            if selection.matches(letter):
                see(message, letter)
                seen += 1
            if seen == limit:
                break
    return seen


async def with_whole_digest(queue: DeadQueue, selection: Selection) -> Selection:
    """The selection with the whole digest in the place of its beginning, before anything is done with what it means.

    Raises:
        ConfigurationError: letters that differ have digests that begin so.
    """
    if selection.digest is None or len(selection.digest) == DIGEST_CHARS:
        return selection
    found: set[str] = set()

    def note(_: DeadMessage, letter: DeadLetter) -> None:
        if len(found) < _AMBIGUOUS_SHOWN:
            found.add(letter.digest)

    await look(queue, Selection(digest=selection.digest), None, note)
    if len(found) > 1:
        raise ConfigurationError(
            f"--digest: letters that differ begin with {selection.digest}: {', '.join(sorted(found))}"
        )
    return replace(selection, digest=found.pop()) if found else selection

"""Looking through the dead queue: everything stays in it, in its order."""

from collections.abc import Callable

from worker.operations.dead_letters.letter import DeadLetter, read_dead_letter
from worker.operations.dead_letters.queue import DeadMessage, DeadQueue
from worker.operations.dead_letters.selection import Selection

See = Callable[[DeadMessage, DeadLetter], None]


async def look(queue: DeadQueue, selection: Selection, limit: int | None, see: See) -> int:
    """Show `see` the letters of a selection, at most `limit`, as many as are there now; returns how many it saw.

    `see` must not wait for anybody: the broker takes the messages back when nothing is heard of us for long.
    """
    seen = 0
    async with queue.take(await queue.size()) as taking:
        async for message in taking:
            taking.keep(message)
            letter = read_dead_letter(message)
            if selection.matches(letter):
                see(message, letter)
                seen += 1
            if seen == limit:
                break
    return seen

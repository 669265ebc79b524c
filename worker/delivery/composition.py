"""Composing a letter with its files."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from worker.delivery.attachments import fetch_attachments
from worker.delivery.case import LetterCase
from worker.delivery.ports import FileStore
from worker.domain.composing import compose
from worker.domain.events import CommentCreated, LetterData
from worker.domain.letters import ComposedLetter

_MANY_CHARACTERS = 50_000  # a few milliseconds, or some tens for HTML that is hard to read


class Composer:
    """Makes letters of cases."""

    def __init__(self, files: FileStore) -> None:
        self._files = files
        # One for all that is large: threads compute in turn, and with each the event loop waits longer for its own.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="composer")

    async def compose(self, item: LetterCase) -> ComposedLetter:
        """The letter as bytes. Raises `FileUnavailable`."""
        case = item.case
        attachments = await fetch_attachments(self._files, case.event.data, case.sender)
        if any(attachment.content for attachment in attachments) or _characters(case.event.data) > _MANY_CHARACTERS:
            # 10 MB take a fifth of a second, which the other letters must not wait for.
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, compose, case.event, case.sender, item.letter, attachments)
        return compose(case.event, case.sender, item.letter, attachments)


def _characters(data: LetterData) -> int:
    """How much there is to compose, but for signatures."""
    written = data.comment.html if isinstance(data, CommentCreated) else data.task.html
    return len(written) + len(data.history_html or "")

"""Composing a letter with its files."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from worker.delivery.attachments import fetch_attachments
from worker.delivery.case import LetterCase
from worker.delivery.ports import FileStore
from worker.domain.attaching import plan_files
from worker.domain.composing import compose
from worker.domain.events import LetterData
from worker.domain.hypertext import author_texts
from worker.domain.letters import ComposedLetter
from worker.domain.resolution import Sender

T = TypeVar("T")

_MANY_CHARACTERS = 50_000  # a few milliseconds, or some tens for HTML that is hard to read


class Composer:
    """Makes letters of cases."""

    def __init__(self, files: FileStore) -> None:
        self._files = files
        # One for all that is large: threads compute in turn, and with each the event loop waits longer for its own.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="composer")

    async def compose(self, item: LetterCase) -> ComposedLetter:
        """The letter as bytes. Raises `FileUnavailable`."""
        event, sender = item.case.event, item.case.sender
        is_large = _characters(event.data, sender) > _MANY_CHARACTERS
        plan = await self._computed(is_large, lambda: plan_files(event.data, sender))
        attachments = await fetch_attachments(self._files, event.data, plan)
        is_large = is_large or any(attachment.content for attachment in attachments)
        return await self._computed(is_large, lambda: compose(event, sender, item.letter, attachments))

    async def _computed(self, is_large: bool, compute: Callable[[], T]) -> T:
        """What is large beside the event loop: 10 MB take a fifth of a second, and other letters must not wait."""
        if not is_large:
            return compute()
        return await asyncio.get_running_loop().run_in_executor(self._thread, compute)


def _characters(data: LetterData, sender: Sender) -> int:
    """How much there is to compose."""
    return sum(map(len, author_texts(data, sender)))

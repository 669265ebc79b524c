"""Composing a letter with its files."""

import asyncio

from worker.delivery.attachments import fetch_attachments
from worker.delivery.case import LetterCase
from worker.delivery.ports import FileStore
from worker.domain.composing import compose
from worker.domain.letters import ComposedLetter


class Composer:
    """Makes letters of cases."""

    def __init__(self, files: FileStore) -> None:
        self._files = files

    async def compose(self, item: LetterCase) -> ComposedLetter:
        """The letter as bytes. Raises `FileUnavailable`."""
        case = item.case
        attachments = await fetch_attachments(self._files, case.event.data, case.sender)
        if any(attachment.content for attachment in attachments):
            # Encoding 10 MB takes a fifth of a second, which the other letters must not wait for.
            return await asyncio.to_thread(compose, case.event, case.sender, item.letter, attachments)
        return compose(case.event, case.sender, item.letter, attachments)

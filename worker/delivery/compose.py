"""Composes letters, with their files."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from worker.delivery.aside import aside
from worker.delivery.context import EventContext, LetterContext
from worker.delivery.places import WHOLE, Places, acting_for
from worker.delivery.ports import FileStore
from worker.domain.events.models import File, LetterData
from worker.domain.letter.compose import compose
from worker.domain.letter.html import author_texts
from worker.domain.letter.model import Attachment, ComposedLetter
from worker.domain.letter.plan import FilePlan, plan_files
from worker.errors import FileUnavailable

T = TypeVar("T")

_MANY_CHARACTERS = 16_000  # a few milliseconds, or about twenty for HTML that is hard to parse


class Attachments:
    """Downloads the files of letters, those of one letter within `timeout_s` seconds in total."""

    def __init__(self, files: FileStore, timeout_s: float) -> None:
        self._files = files
        self._timeout_s = timeout_s

    async def fetch(self, data: LetterData, plan: FilePlan) -> tuple[Attachment, ...]:
        """The event's files, with their contents where they are attached.

        Raises:
            FileUnavailable: a file to attach cannot be downloaded, or not in time, or is so much larger than declared
                that it cannot be attached.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._fetch(data, plan)
        except TimeoutError:
            message = f"the files of this letter were not downloaded within {self._timeout_s:g} s"
            raise FileUnavailable(message, is_permanent=False) from None

    async def _fetch(self, data: LetterData, plan: FilePlan) -> tuple[Attachment, ...]:
        left = plan.room
        attachments = []
        for file in data.files:
            content = None
            if file in plan.fetched:
                content = await self._files.fetch(file, left)
                left -= len(content)
                if left < 0:
                    raise FileUnavailable(f"{file.name}: larger than declared", is_permanent=True)
            attachments.append(_attachment(file, plan, content))
        return tuple(attachments)


def _attachment(file: File, plan: FilePlan, content: bytes | None) -> Attachment:
    content_id = file.content_id if file.content_id in plan.shown else None
    return Attachment(file.name, file.content_type, file.size, file.link, content, content_id)


class Composer:
    """Composes letters into bytes."""

    def __init__(self, attachments: Attachments) -> None:
        self._attachments = attachments
        self._turns = Places(1, WHOLE)  # accounts take turns: none waits for all large letters of another

    async def plan(self, letter: LetterContext) -> FilePlan:
        """Which of the event's files must be downloaded for the letter."""
        event, sender = letter.context.event, letter.context.sender
        return await self._computed(_is_large(letter.context), lambda: plan_files(event.data, sender))

    async def compose(self, letter: LetterContext) -> ComposedLetter:
        """The letter as bytes. Raises `FileUnavailable` when its files have not been downloaded."""
        event, sender, attachments = letter.context.event, letter.context.sender, letter.attachments
        if attachments is None and event.data.files:
            attachments = await self._attachments.fetch(event.data, await self.plan(letter))
        files = attachments or ()
        is_large = _is_large(letter.context) or any(file.content for file in files)
        return await self._computed(is_large, lambda: compose(event, sender, letter.planned, files))

    async def _computed(self, is_large: bool, compute: Callable[[], T]) -> T:
        """Compute large letters off the event loop: 10 MB take a fifth of a second, and other letters must not wait."""
        if not is_large:
            return compute()
        async with self._turns.place(acting_for()):
            return await aside(compute)


def _is_large(context: EventContext) -> bool:
    """True when there is much to compose: texts, the signature, and the names of all possible recipients."""
    texts = author_texts(context.event.data, context.sender)
    return max(len(context.arrival.body), sum(map(len, texts))) > _MANY_CHARACTERS

"""Composing a letter with its files."""

from collections.abc import Callable
from typing import TypeVar

from worker.delivery.aside import aside
from worker.delivery.attachments import Attachments
from worker.delivery.case import Case, LetterCase
from worker.delivery.places import WHOLE, Places, acting_for
from worker.domain.attaching import FilePlan, plan_files
from worker.domain.composing import compose
from worker.domain.hypertext import author_texts
from worker.domain.letters import ComposedLetter

T = TypeVar("T")

_MANY_CHARACTERS = 16_000  # a few milliseconds, or some twenty for HTML that is hard to read


class Composer:
    """Makes letters of cases."""

    def __init__(self, attachments: Attachments) -> None:
        self._attachments = attachments
        self._turns = Places(1, WHOLE)  # accounts take turns: none waits for all large letters of another

    async def plan(self, item: LetterCase) -> FilePlan:
        """Which of the event's files have to be downloaded for the letter."""
        event, sender = item.case.event, item.case.sender
        return await self._computed(_is_large(item.case), lambda: plan_files(event.data, sender))

    async def compose(self, item: LetterCase) -> ComposedLetter:
        """The letter as bytes. Raises `FileUnavailable` where its files have yet to be downloaded."""
        event, sender, attachments = item.case.event, item.case.sender, item.attachments
        if attachments is None and event.data.files:
            attachments = await self._attachments.fetch(event.data, await self.plan(item))
        files = attachments or ()
        is_large = _is_large(item.case) or any(file.content for file in files)
        return await self._computed(is_large, lambda: compose(event, sender, item.letter, files))

    async def _computed(self, is_large: bool, compute: Callable[[], T]) -> T:
        """What is large beside the event loop: 10 MB take a fifth of a second, and other letters must not wait."""
        if not is_large:
            return compute()
        async with self._turns.place(acting_for()):
            return await aside(compute)


def _is_large(case: Case) -> bool:
    """Whether there is much to compose: texts, the signature, and the names of all whom a letter may name."""
    texts = author_texts(case.event.data, case.sender)
    return max(len(case.arrival.body), sum(map(len, texts))) > _MANY_CHARACTERS

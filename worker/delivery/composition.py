"""Composing a letter with its files."""

from collections.abc import Callable
from typing import TypeVar

from worker.delivery.aside import aside
from worker.delivery.attachments import fetch_attachments
from worker.delivery.case import Case, LetterCase
from worker.delivery.ports import FileStore
from worker.domain.attaching import plan_files
from worker.domain.composing import compose
from worker.domain.hypertext import author_texts
from worker.domain.letters import ComposedLetter

T = TypeVar("T")

_MANY_CHARACTERS = 16_000  # a few milliseconds, or some twenty for HTML that is hard to read


class Composer:
    """Makes letters of cases."""

    def __init__(self, files: FileStore) -> None:
        self._files = files

    async def compose(self, item: LetterCase) -> ComposedLetter:
        """The letter as bytes. Raises `FileUnavailable`."""
        event, sender = item.case.event, item.case.sender
        is_large = _characters(item.case) > _MANY_CHARACTERS
        plan = await _computed(is_large, lambda: plan_files(event.data, sender))
        attachments = await fetch_attachments(self._files, event.data, plan)
        is_large = is_large or any(attachment.content for attachment in attachments)
        return await _computed(is_large, lambda: compose(event, sender, item.letter, attachments))


async def _computed(is_large: bool, compute: Callable[[], T]) -> T:
    """What is large beside the event loop: 10 MB take a fifth of a second, and other letters must not wait."""
    return await aside(compute) if is_large else compute()


def _characters(case: Case) -> int:
    """How much there is to compose: texts, the signature, and the names of all whom a letter may name."""
    return max(len(case.arrival.body), sum(map(len, author_texts(case.event.data, case.sender))))

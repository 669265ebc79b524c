"""The files of a letter: downloaded to go along, or left as links."""

import asyncio

from worker.delivery.ports import FileStore
from worker.domain.attaching import FilePlan
from worker.domain.events import File, LetterData
from worker.domain.letters import Attachment
from worker.errors import FileUnavailable


class Attachments:
    """Downloads the files of letters, those of one letter within `timeout_s` seconds together."""

    def __init__(self, files: FileStore, timeout_s: float) -> None:
        self._files = files
        self._timeout_s = timeout_s

    async def fetch(self, data: LetterData, plan: FilePlan) -> tuple[Attachment, ...]:
        """The event's files, with their contents where they go with the letter.

        Raises:
            FileUnavailable: one of them cannot be downloaded, or not in time, or is larger than it was declared, beyond
                what goes along.
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

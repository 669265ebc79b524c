"""The files of a letter: downloaded to go along, or left as links."""

from worker.delivery.ports import FileStore
from worker.domain.attaching import FilePlan
from worker.domain.events import File, LetterData
from worker.domain.letters import Attachment
from worker.errors import FileUnavailable


async def fetch_attachments(files: FileStore, data: LetterData, plan: FilePlan) -> tuple[Attachment, ...]:
    """The event's files, with their contents where they go with the letter.

    Raises:
        FileUnavailable: one of them cannot be downloaded, or is larger than it was declared, beyond what goes along.
    """
    left = plan.room
    attachments = []
    for file in data.files:
        content = None
        if file in plan.attached or file in plan.inline:
            content = await files.fetch(file, left)
            left -= len(content)
            if left < 0:
                raise FileUnavailable(f"{file.name}: larger than declared", is_permanent=True)
        attachments.append(_attachment(file, plan, content))
    return tuple(attachments)


def _attachment(file: File, plan: FilePlan, content: bytes | None) -> Attachment:
    content_id = file.content_id if file.content_id in plan.shown else None
    return Attachment(file.name, file.content_type, file.size, file.link, content, content_id)

"""The files of a letter: downloaded to be attached, or left as links."""

from worker.delivery.ports import FileStore
from worker.domain.attaching import MAX_ATTACHED_BYTES, files_to_attach
from worker.domain.events import LetterData
from worker.domain.letters import Attachment
from worker.domain.resolution import Sender
from worker.errors import FileUnavailable


async def fetch_attachments(files: FileStore, data: LetterData, sender: Sender) -> tuple[Attachment, ...]:
    """The event's files, with their contents where they go with the letter.

    Raises:
        FileUnavailable: one of them cannot be downloaded, or is larger than it was declared, beyond what is attached.
    """
    to_attach = frozenset(files_to_attach(data, sender))
    left = MAX_ATTACHED_BYTES
    attachments = []
    for file in data.files:
        content = None
        if file in to_attach:
            content = await files.fetch(file, left)
            left -= len(content)
            if left < 0:
                raise FileUnavailable(f"{file.name}: larger than declared", is_permanent=True)
        attachments.append(Attachment(file.name, file.content_type, file.size, file.link, content))
    return tuple(attachments)

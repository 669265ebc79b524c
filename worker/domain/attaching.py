"""Which of an event's files go with the letter itself: as attachments, as pictures in its HTML, or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.domain.events import File, LetterData
from worker.domain.hypertext import author_texts
from worker.domain.pictures import MAX_INLINE_BYTES, embedded_bytes, referenced_content_ids
from worker.domain.resolution import Sender


@dataclass(frozen=True, slots=True)
class FilePlan:
    """The event's files by what becomes of them; what is in neither goes as a link.

    `room` is how many bytes the fetched files may have together: what pictures in the HTML itself leave of the 10 MB.
    `shown` are the content IDs that the HTML refers to, whether their files fit or not.
    """

    attached: frozenset[File]
    inline: frozenset[File]
    room: int
    shown: frozenset[str]

    @property
    def fetched(self) -> frozenset[File]:
        """What has to be downloaded."""
        return self.attached | self.inline


def plan_files(data: LetterData, sender: Sender) -> FilePlan:
    """Pictures first, as they are part of what was written; attachments all or none, when the account wants them.

    Declared sizes decide, so that the letter is the same whether the files can be downloaded today or not.
    """
    texts = author_texts(data, sender)
    shown = referenced_content_ids(texts)
    room = MAX_INLINE_BYTES - embedded_bytes(texts)
    inline = _fitting([file for file in data.files if file.content_id in shown], room)
    others = frozenset(data.files) - inline
    left = room - sum(file.size for file in inline)
    wants_attachments = sender.is_entitled and sender.account.settings.attach_files
    fits = sum(file.size for file in data.files if file in others) <= left
    return FilePlan(others if wants_attachments and fits else frozenset(), inline, room, shown)


def _fitting(files: Sequence[File], room: int) -> frozenset[File]:
    """The files for which there is room, the first ones first."""
    fitting: set[File] = set()
    for file in files:
        if file.size <= room:
            fitting.add(file)
            room -= file.size
    return frozenset(fitting)

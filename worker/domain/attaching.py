"""Whether an event's files go with the letter itself or as links."""

from worker.domain.events import File, LetterData
from worker.domain.resolution import Sender

MAX_ATTACHED_BYTES = 10 * 1024 * 1024


def files_to_attach(data: LetterData, sender: Sender) -> tuple[File, ...]:
    """All of the event's files, or none: when the account wants it, is entitled, and they are together small enough.

    Declared sizes decide, so that the letter is the same whether the files can be downloaded today or not.
    """
    if not (sender.is_entitled and sender.account.settings.attach_files):
        return ()
    if sum(file.size for file in data.files) > MAX_ATTACHED_BYTES:
        return ()
    return data.files

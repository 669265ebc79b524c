"""In-memory Sent folders."""

from dataclasses import dataclass
from datetime import datetime

from worker.delivery.ports import CopyTarget, SavedCopy
from worker.domain.transmission import DeliveryFailure, FailureKind
from worker.domain.vocabulary import CopyOutcome, Phase

UID_VALIDITY = 1
_NO_FOLDER = DeliveryFailure(Phase.MAIL, FailureKind.NO_FOLDER, detail="no such folder")


@dataclass(frozen=True, slots=True)
class StoredCopy:
    """A copy as stored in a folder."""

    uid: int
    message_id: str
    date: datetime
    content: bytes


class FakeSentFolder:
    """A `SentFolder` without a server. A mailbox is identified by its id; it has a folder `Sent` unless set otherwise.

    `troubles` are returned first, one per call, as if the server had failed so; `broken` fails a mailbox until it is
    removed. `asked` lists the mailboxes signed in to, in order.
    """

    def __init__(self) -> None:
        self.folders: dict[str, dict[str, list[StoredCopy]]] = {}
        self.troubles: list[DeliveryFailure] = []
        self.broken: dict[str, DeliveryFailure] = {}
        self.without_folder: set[str] = set()
        self.asked: list[str] = []
        self.is_closed = False

    def copies(self, mailbox_id: str, folder: str = "Sent") -> list[StoredCopy]:
        """The contents of a mailbox's folder."""
        return self.folders.get(mailbox_id, {}).get(folder, [])

    async def save(
        self, target: CopyTarget, message_id: str, date: datetime, copy: bytes, *, also_known_as: str | None = None
    ) -> SavedCopy:
        """Save the copy unless it exists. A folder named in the settings is created if missing."""
        if trouble := self._trouble(target):
            return SavedCopy(CopyOutcome.FAILED, target.folder, trouble=trouble)
        folder = self._folder(target)
        if folder is None:
            return SavedCopy(CopyOutcome.NO_FOLDER, trouble=_NO_FOLDER)
        stored = self.folders.setdefault(target.mailbox_id, {}).setdefault(folder, [])
        for there in stored:
            if there.message_id in (message_id, also_known_as):
                return SavedCopy(CopyOutcome.ALREADY_THERE, folder, there.uid, UID_VALIDITY)
        stored.append(StoredCopy(len(stored) + 1, message_id, date, copy))
        return SavedCopy(CopyOutcome.SAVED, folder, stored[-1].uid, UID_VALIDITY)

    async def find(self, target: CopyTarget, message_id: str) -> bool | DeliveryFailure:
        """Whether a copy with this Message-ID exists."""
        if trouble := self._trouble(target):
            return trouble
        folder = self._folder(target)
        is_missing = target.folder is not None and target.folder not in self.folders.get(target.mailbox_id, {})
        if folder is None or (is_missing and target.folder != "Sent"):
            return _NO_FOLDER
        return any(there.message_id == message_id for there in self.copies(target.mailbox_id, folder))

    async def close(self) -> None:
        """Record the call only."""
        self.is_closed = True

    def _trouble(self, target: CopyTarget) -> DeliveryFailure | None:
        self.asked.append(target.mailbox_id)
        return self.troubles.pop(0) if self.troubles else self.broken.get(target.mailbox_id)

    def _folder(self, target: CopyTarget) -> str | None:
        return target.folder or (None if target.mailbox_id in self.without_folder else "Sent")

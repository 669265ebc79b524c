"""Opening a mailbox's Sent folder and looking into it for a letter."""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from worker.adapters.imap.locating import locate
from worker.adapters.imap.session import ImapSession
from worker.adapters.imap.troubles import ImapTrouble, Refused
from worker.adapters.imap.wire import encode_mailbox_name
from worker.delivery.ports import Clock
from worker.domain.transmission import Fault
from worker.domain.vocabulary import Phase

FOLDER_MEMORY_S = 3_600.0
MAX_REMEMBERED_FOLDERS = 10_000


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder by its name for people and its name on the wire."""

    name: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Look:
    """What a look found: the folder, whether it exists, and the UIDs of the letter in it, ascending."""

    folder: Folder
    exists: bool
    uid_validity: int | None = None
    uids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Opened:
    """A folder that was opened, and what a search for the first Message-ID found; None: that is still to be done."""

    folder: Folder
    exists: bool
    uid_validity: int | None = None
    uids: tuple[int, ...] | None = None


class FolderMemory:
    """Which folder was found for whom, for an hour; the oldest are forgotten when there are too many."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._folders: OrderedDict[Hashable, tuple[Folder, float]] = OrderedDict()

    def recall(self, key: Hashable) -> Folder | None:
        """The folder that was found not too long ago."""
        folder, until = self._folders.get(key, (None, 0.0))
        return folder if self._clock.monotonic() < until else None

    def remember(self, key: Hashable, folder: Folder) -> None:
        """Remember from now on."""
        self._folders[key] = (folder, self._clock.monotonic() + FOLDER_MEMORY_S)
        self._folders.move_to_end(key)
        if len(self._folders) > MAX_REMEMBERED_FOLDERS:
            self._folders.popitem(last=False)

    def forget(self, key: Hashable) -> None:
        """It is not there any more."""
        self._folders.pop(key, None)


async def look(
    session: ImapSession, named: str | None, key: Hashable, memory: FolderMemory, ids: Sequence[str]
) -> Look | None:
    """Open the Sent folder and look for a letter with one of these Message-IDs, in their order; at least one.

    Returns None when there is no such folder. The one that the mailbox's settings name wins over everything, and may be
    missing. Raises `ImapTrouble`.
    """
    first, *others = ids
    opened = await (
        _open_named(session, named, first) if named is not None else _open_found(session, key, memory, first)
    )
    if opened is None:
        return None
    if not opened.exists:
        return Look(opened.folder, False)
    uids = opened.uids if opened.uids is not None else await session.search(first)
    for message_id in others:
        uids = uids or await session.search(message_id)
    return Look(opened.folder, True, opened.uid_validity, uids)


async def _open(session: ImapSession, folder: Folder, message_id: str) -> _Opened:
    return _Opened(folder, True, *await session.examine_and_search(folder.raw, message_id))


async def _open_named(session: ImapSession, name: str, message_id: str) -> _Opened:
    try:
        folder = Folder(name, encode_mailbox_name(name))
    except ValueError:
        raise ImapTrouble(Phase.MAIL, Fault.PROTOCOL, "the folder's name cannot be sent over IMAP") from None
    try:
        return await _open(session, folder, message_id)
    except Refused:
        # Missing, or there but not to be opened now? Only a folder that is missing holds no copy for certain.
        if await is_listed(session, folder):
            raise
    return _Opened(folder, False)


async def is_listed(session: ImapSession, folder: Folder) -> bool:
    """Whether the folder is there, though perhaps not to be opened."""
    listed = await session.list_folders(folder.raw)  # as a pattern: a % or * in the name matches itself too
    return any(other.name == folder.name and "\\nonexistent" not in other.flags for other in listed)


async def _open_found(session: ImapSession, key: Hashable, memory: FolderMemory, message_id: str) -> _Opened | None:
    remembered = memory.recall(key)
    if remembered is not None:
        try:
            return await _open(session, remembered, message_id)
        except Refused:  # renamed or deleted since
            memory.forget(key)
    located = await locate(session)
    if located is None:
        return None
    opened = await _open(session, Folder(session.shown(located.name), located.raw), message_id)
    memory.remember(key, opened.folder)
    return opened

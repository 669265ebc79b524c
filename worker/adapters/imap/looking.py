"""Opening a mailbox's Sent folder and looking into it for a letter."""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from worker.adapters.imap.locating import locate
from worker.adapters.imap.namespaces import Namespaces, folded, own_names
from worker.adapters.imap.responses import ListedFolder, mailbox_name
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
    """What a look found: the folder, and the UIDs of the letter in it, ascending."""

    folder: Folder
    uid_validity: int | None = None
    uids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """The folder that the settings name is not there; what it may be made as, the likeliest first."""

    candidates: tuple[Folder, ...]


@dataclass(frozen=True, slots=True)
class _Opened:
    """A folder that was opened, and what a search for the first Message-ID found; None: that is still to be done."""

    folder: Folder
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
) -> Look | Missing | None:
    """Open the Sent folder and look for a letter with one of these Message-IDs, in their order; at least one.

    Returns None when there is no such folder. The one that the mailbox's settings name wins over everything, and may be
    missing. Raises `ImapTrouble`.
    """
    first, *others = ids
    opened: _Opened | Missing | None = await _open_remembered(session, key, memory, first)
    if opened is None:
        opened = await (_open_located(session, first) if named is None else _open_named(session, named, first))
        if not isinstance(opened, _Opened):
            return opened
        memory.remember(key, opened.folder)
    assert isinstance(opened, _Opened)  # noqa: S101 - for the type checker: the others were returned
    uids = opened.uids if opened.uids is not None else await session.search(first)
    for message_id in others:
        uids = uids or await session.search(message_id)
    return Look(opened.folder, opened.uid_validity, uids)


async def _open(session: ImapSession, folder: Folder, message_id: str) -> _Opened:
    return _Opened(folder, *await session.examine_and_search(folder.raw, message_id))


async def _open_remembered(
    session: ImapSession, key: Hashable, memory: FolderMemory, message_id: str
) -> _Opened | None:
    remembered = memory.recall(key)
    if remembered is None:
        return None
    try:
        return await _open(session, remembered, message_id)
    except Refused:  # renamed or deleted since
        memory.forget(key)
        return None


async def _open_located(session: ImapSession, message_id: str) -> _Opened | None:
    located = await locate(session)
    return None if located is None else await _open(session, _folder(session, located.raw), message_id)


async def _open_named(session: ImapSession, name: str, message_id: str) -> _Opened | Missing:
    try:
        raw = encode_mailbox_name(name)
    except ValueError:
        raise ImapTrouble(Phase.MAIL, Fault.PROTOCOL, "the folder's name cannot be sent over IMAP") from None
    names, listed = await _names(session, raw)
    for each in sorted(names, key=lambda each: each not in listed):  # stable
        try:
            return await _open(session, _folder(session, listed.get(each, each)), message_id)
        except Refused:
            # Missing, or there but not to be opened now? Only a folder that is missing holds no copy for certain.
            if each in listed:
                raise
    return Missing(tuple(_folder(session, each) for each in names))


async def _names(session: ImapSession, raw: bytes) -> tuple[list[bytes], dict[bytes, bytes]]:
    """The names on the wire that a folder of the settings may have, and those that are listed, with how."""
    namespaces, (as_named, inbox) = await session.survey(raw, b"INBOX")
    listed = _there(raw, as_named)
    delimiter = next((each.delimiter for each in _folders(inbox) if each.raw.upper() == b"INBOX"), None)
    inbox_delimiter = delimiter.encode("latin-1") if delimiter else None
    names = list(dict.fromkeys(own_names(namespaces, raw, inbox_delimiter)))
    if listed and (names[:1] == [raw] or _is_path(raw, namespaces, inbox_delimiter)):
        return [raw], listed
    others = [each for each in names if each != raw]
    _, found = await session.survey(*others)
    for name, folders in zip(others, found, strict=True):
        listed |= _there(name, folders)
    return names, listed


def _folders(listed: Sequence[ListedFolder] | Refused) -> Sequence[ListedFolder]:
    return () if isinstance(listed, Refused) else listed


def _there(name: bytes, listed: Sequence[ListedFolder] | Refused) -> dict[bytes, bytes]:
    """The name, when it is listed, with how it is: some servers send names in plain UTF-8."""
    found = next((folder for folder in _folders(listed) if _is(folder, name)), None)
    return {} if found is None else {name: found.raw}


def _is_path(raw: bytes, namespaces: Namespaces, inbox_delimiter: bytes | None) -> bool:
    """A name with levels in it is meant as it stands; one without is the mailbox's own folder, not a shared one."""
    delimiters = {each.delimiter for each in (*namespaces.personal, *namespaces.foreign)} | {inbox_delimiter}
    return any(delimiter in raw for delimiter in delimiters if delimiter)


def _is(folder: ListedFolder, raw: bytes) -> bool:
    return folder.exists and mailbox_name(folded(folder.raw)) == mailbox_name(folded(raw))


def _folder(session: ImapSession, raw: bytes) -> Folder:
    return Folder(session.shown(mailbox_name(raw)), raw)


async def is_listed(session: ImapSession, folder: Folder) -> bool:
    """Whether the folder is there, though perhaps not to be opened."""
    # As a pattern: a % or * in the name matches itself too.
    return any(_is(other, folder.raw) for other in await session.list_folders(folder.raw))

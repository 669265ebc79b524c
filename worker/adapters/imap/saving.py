"""Saves a letter's copy over a session: find the folder, search it for the letter, append the letter if it is missing.

Used for copies and for mailbox checks.
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime

from worker.adapters.imap.encoding import encode_mailbox_name
from worker.adapters.imap.errors import ImapTrouble, Refused
from worker.adapters.imap.folder_discovery import locate
from worker.adapters.imap.namespaces import Namespaces, folded, own_names
from worker.adapters.imap.responses import AppendUid, ListedFolder, mailbox_name
from worker.adapters.imap.session import ImapSession
from worker.delivery.ports import Clock, SavedCopy
from worker.domain.transmission import DeliveryFailure, FailureKind
from worker.domain.vocabulary import CopyOutcome, Phase

FOLDER_MEMORY_S = 3_600.0
MAX_REMEMBERED_FOLDERS = 10_000


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder's display name and its name on the wire."""

    name: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Look:
    """Search result: the folder, and the UIDs of the letter in it, ascending."""

    folder: Folder
    uid_validity: int | None = None
    uids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """The folder named in the settings does not exist; the names under which to create it, likeliest first."""

    candidates: tuple[Folder, ...]


@dataclass(frozen=True, slots=True)
class _Opened:
    """An open folder, and the search result for the first Message-ID; None: not searched yet."""

    folder: Folder
    uid_validity: int | None = None
    uids: tuple[int, ...] | None = None


class FolderMemory:
    """Caches the folder found for each key for an hour; evicts the oldest when there are too many."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._folders: OrderedDict[Hashable, tuple[Folder, float]] = OrderedDict()

    def recall(self, key: Hashable) -> Folder | None:
        """The cached folder, unless it has expired."""
        folder, until = self._folders.get(key, (None, 0.0))
        return folder if self._clock.monotonic() < until else None

    def remember(self, key: Hashable, folder: Folder) -> None:
        """Cache the folder."""
        self._folders[key] = (folder, self._clock.monotonic() + FOLDER_MEMORY_S)
        self._folders.move_to_end(key)
        if len(self._folders) > MAX_REMEMBERED_FOLDERS:
            self._folders.popitem(last=False)

    def forget(self, key: Hashable) -> None:
        """Drop a folder that no longer exists."""
        self._folders.pop(key, None)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a mailbox's copies go: the folder named in its settings, if any, and the cache with its key."""

    named: str | None
    key: Hashable
    memory: FolderMemory


async def look(session: ImapSession, place: Place, ids: Sequence[str]) -> Look | Missing | None:
    """Open the Sent folder and search for a letter with one of these Message-IDs, in order; at least one.

    Returns None when there is no such folder. The folder named in the mailbox's settings takes precedence, and may be
    missing. Raises `ImapTrouble`.
    """
    first, *others = ids
    named, memory, key = place.named, place.memory, (place.key, place.named)
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
        raise ImapTrouble(Phase.MAIL, FailureKind.PROTOCOL, "the folder's name cannot be sent over IMAP") from None
    names, listed = await _names(session, raw)
    for each in sorted(names, key=lambda each: each not in listed):  # stable
        try:
            return await _open(session, _folder(session, listed.get(each, each)), message_id)
        except Refused:
            # Missing, or present but not accessible now? Only a missing folder certainly holds no copy.
            if each in listed:
                raise
    return Missing(tuple(_folder(session, each) for each in names))


async def _names(session: ImapSession, raw: bytes) -> tuple[list[bytes], dict[bytes, bytes]]:
    """The possible wire names of a folder in the settings, and the listed ones, each with its listed spelling."""
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
    """The name, if listed, with its listed spelling: some servers send names in plain UTF-8."""
    found = next((folder for folder in _folders(listed) if _is(folder, name)), None)
    return {} if found is None else {name: found.raw}


def _is_path(raw: bytes, namespaces: Namespaces, inbox_delimiter: bytes | None) -> bool:
    """A name with levels is taken literally; one without is the mailbox's own folder, not a shared one."""
    delimiters = {each.delimiter for each in (*namespaces.personal, *namespaces.foreign)} | {inbox_delimiter}
    return any(delimiter in raw for delimiter in delimiters if delimiter)


def _is(folder: ListedFolder, raw: bytes) -> bool:
    return folder.exists and mailbox_name(folded(folder.raw)) == mailbox_name(folded(raw))


def _folder(session: ImapSession, raw: bytes) -> Folder:
    return Folder(session.shown(mailbox_name(raw)), raw)


async def _is_listed(session: ImapSession, folder: Folder) -> bool:
    """Whether the folder exists, even if it cannot be opened."""
    # As a pattern: a % or * in the name matches itself too.
    return any(_is(other, folder.raw) for other in await session.list_folders(folder.raw))


async def _append(
    session: ImapSession, folder: bytes, date: datetime, letter: bytes, *, may_create: bool
) -> AppendUid | None:
    """Append the letter; create its folder first if the server requests that (RFC 3501 section 6.3.11).

    Returns the letter's UID, if the server gives it. Raises `ImapTrouble`.
    """
    try:
        return await session.append(folder, date, letter)
    except Refused as refused:
        if refused.code_name != "TRYCREATE" or not may_create:
            raise
    await _create(session, folder)
    return await session.append(folder, date, letter)


async def _create(session: ImapSession, folder: bytes) -> None:
    """Create a folder and subscribe to it, so that mail programs show it. Raises `ImapTrouble`."""
    try:
        await session.create(folder)
    except Refused as refused:
        if refused.code_name != "ALREADYEXISTS":  # RFC 5530: another client was faster
            raise
    try:
        await session.subscribe(folder)
    except Refused:
        return  # the folder exists; only some mail programs do not show it


async def _place_by_search(session: ImapSession, folder: bytes, message_id: str) -> AppendUid | None:
    """Search for the UID of the letter just appended, for servers that do not give it (no UIDPLUS)."""
    try:
        uid_validity = await session.examine(folder)  # again: newer messages may not be visible yet
        uids = await session.search(message_id)
    except ImapTrouble:  # the letter is saved all the same
        return None
    return AppendUid(uid_validity, uids[-1]) if uids and uid_validity is not None else None


NO_FOLDER = DeliveryFailure(
    Phase.MAIL,
    FailureKind.NO_FOLDER,
    detail="no folder is marked as Sent or has a known name: name one in the settings",
)


async def save(session: ImapSession, place: Place, ids: Sequence[str], date: datetime, letter: bytes) -> SavedCopy:
    """Append the letter, unless the folder has one with one of its Message-IDs. Raises `ImapTrouble`."""
    found = await look(session, place, ids)
    if found is None:
        return SavedCopy(CopyOutcome.NO_FOLDER, trouble=NO_FOLDER)
    if isinstance(found, Missing):
        found = Look(await made(session, found))
    if found.uids:
        return already_there(found)
    may_create = place.named is not None  # a folder of our own choice would be unknown to the mailbox's owner
    appended = await _append(session, found.folder.raw, date, letter, may_create=may_create)
    if appended is None:
        appended = await _place_by_search(session, found.folder.raw, ids[0])
    if appended is None:
        return SavedCopy(CopyOutcome.SAVED, found.folder.name, uid_validity=found.uid_validity)
    return SavedCopy(CopyOutcome.SAVED, found.folder.name, appended.uid, appended.uid_validity)


def already_there(found: Look) -> SavedCopy:
    """The result for a letter found in the folder."""
    return SavedCopy(CopyOutcome.ALREADY_THERE, found.folder.name, found.uids[-1], found.uid_validity)


async def made(session: ImapSession, missing: Missing) -> Folder:
    """Create the folder named in the settings, under the first of its names that the server accepts.

    Raises `ImapTrouble`; if all names are refused, the refusal of the likeliest one.
    """
    refusals: list[Refused] = []
    for folder in missing.candidates:
        try:
            await _create(session, folder.raw)
        except Refused as refused:
            if not await _is_listed(session, folder):  # else another client was faster (RFC 5530 ALREADYEXISTS)
                refusals.append(refused)
                continue
        return folder
    raise refusals[0]

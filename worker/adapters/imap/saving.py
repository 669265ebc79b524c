"""Saving a letter's copy over a session: the look, the folder, the letter. Copies do this, and checks of mailboxes."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime

from worker.adapters.imap.appending import append, create, place_by_search
from worker.adapters.imap.looking import Folder, FolderMemory, Look, Missing, is_listed, look
from worker.adapters.imap.session import ImapSession
from worker.adapters.imap.troubles import Refused
from worker.delivery.ports import SavedCopy
from worker.domain.transmission import Fault, Trouble
from worker.domain.vocabulary import CopyOutcome, Phase

NO_FOLDER = Trouble(
    Phase.MAIL, Fault.NO_FOLDER, detail="no folder is marked as Sent or has a known name: name one in the settings"
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a mailbox's copies go: the folder that its settings name, if they do, and whose memory of it counts."""

    named: str | None
    key: Hashable
    memory: FolderMemory


async def looked(session: ImapSession, place: Place, ids: Sequence[str]) -> Look | Missing | None:
    """Look for a letter with one of these Message-IDs. Raises `ImapTrouble`."""
    return await look(session, place.named, (place.key, place.named), place.memory, ids)


async def save(session: ImapSession, place: Place, ids: Sequence[str], date: datetime, letter: bytes) -> SavedCopy:
    """Append the letter, unless one with one of its Message-IDs is there. Raises `ImapTrouble`."""
    found = await looked(session, place, ids)
    if found is None:
        return SavedCopy(CopyOutcome.NO_FOLDER, trouble=NO_FOLDER)
    if isinstance(found, Missing):
        found = Look(await made(session, found))
    if found.uids:
        return already_there(found)
    may_create = place.named is not None  # a folder of our own choice would be one that nobody knows of
    appended = await append(session, found.folder.raw, date, letter, may_create=may_create)
    if appended is None:
        appended = await place_by_search(session, found.folder.raw, ids[0])
    if appended is None:
        return SavedCopy(CopyOutcome.SAVED, found.folder.name, uid_validity=found.uid_validity)
    return SavedCopy(CopyOutcome.SAVED, found.folder.name, appended.uid, appended.uid_validity)


def already_there(found: Look) -> SavedCopy:
    """What is told of a letter that a look found."""
    return SavedCopy(CopyOutcome.ALREADY_THERE, found.folder.name, found.uids[-1], found.uid_validity)


async def made(session: ImapSession, missing: Missing) -> Folder:
    """The folder that the settings name, made under the first of its names that the server accepts.

    Raises `ImapTrouble`, for refusals what was said to the likeliest name.
    """
    refusals: list[Refused] = []
    for folder in missing.candidates:
        try:
            await create(session, folder.raw)
        except Refused as refused:
            if not await is_listed(session, folder):  # else somebody was quicker (RFC 5530 ALREADYEXISTS)
                refusals.append(refused)
                continue
        return folder
    raise refusals[0]

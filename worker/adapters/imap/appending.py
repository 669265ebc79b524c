"""Putting a letter into a folder, and finding out where it came to lie."""

from datetime import datetime

from worker.adapters.imap.responses import AppendUid
from worker.adapters.imap.session import ImapSession
from worker.adapters.imap.troubles import ImapTrouble, Refused


async def append(
    session: ImapSession, folder: bytes, date: datetime, letter: bytes, *, may_create: bool
) -> AppendUid | None:
    """Append the letter; create its folder first where the server asks for that (RFC 3501 section 6.3.11).

    Returns where the letter is, when the server tells. Raises `ImapTrouble`.
    """
    try:
        return await session.append(folder, date, letter)
    except Refused as refused:
        if refused.code_name != "TRYCREATE" or not may_create:
            raise
    await create(session, folder)
    return await session.append(folder, date, letter)


async def create(session: ImapSession, folder: bytes) -> None:
    """Create a folder and have mail programs show it. Raises `ImapTrouble`."""
    try:
        await session.create(folder)
    except Refused as refused:
        if refused.code_name != "ALREADYEXISTS":  # RFC 5530: somebody else was quicker
            raise
    try:
        await session.subscribe(folder)
    except Refused:
        return  # the folder is there; only some mail programs do not show it


async def place_by_search(session: ImapSession, folder: bytes, message_id: str) -> AppendUid | None:
    """Where the letter is that was just appended, where the server did not say (no UIDPLUS)."""
    try:
        uid_validity = await session.examine(folder)  # anew: what came since it was opened may not be seen yet
        uids = await session.search(message_id)
    except ImapTrouble:  # it is saved all the same
        return None
    return AppendUid(uid_validity, uids[-1]) if uids and uid_validity is not None else None

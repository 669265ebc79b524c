"""Which folder is the Sent folder: what the server says by SPECIAL-USE (RFC 6154), else a known name.

Never asks for all folders: with SPECIAL-USE the server selects, without it one level is asked for at a time.
"""

from collections.abc import Iterable

from worker.adapters.imap.folders import RANKS, fold
from worker.adapters.imap.responses import ListedFolder
from worker.adapters.imap.session import ImapSession
from worker.adapters.imap.troubles import Refused

_SENT = "\\sent"
_UNKNOWN = len(RANKS)


async def locate(session: ImapSession) -> ListedFolder | None:
    """The Sent folder; None when there is none that can be recognised. Raises `ImapTrouble`."""
    if session.has("SPECIAL-USE") and (special := _flagged(await _selected(session))):
        return special
    top = await session.list_folders(b"%")
    if found := _flagged(top) or _known(top):
        return found
    prefix = _inbox_prefix(top)
    below_inbox = await session.list_folders(prefix + b"%") if prefix else []
    return _flagged(below_inbox) or _known(below_inbox)


async def _selected(session: ImapSession) -> list[ListedFolder]:
    try:
        return await session.list_folders(b"*", selection="(SPECIAL-USE)")
    except Refused:  # SPECIAL-USE without LIST-EXTENDED: the flags are shown, but cannot be asked for
        return []


def _flagged(folders: Iterable[ListedFolder]) -> ListedFolder | None:
    return next((folder for folder in folders if _SENT in folder.flags and folder.is_selectable), None)


def _known(folders: Iterable[ListedFolder]) -> ListedFolder | None:
    ranked = [(_rank(folder), folder) for folder in folders if folder.is_selectable]
    rank, best = min(ranked, key=lambda pair: pair[0], default=(_UNKNOWN, None))
    return best if rank < _UNKNOWN else None


def _rank(folder: ListedFolder) -> int:
    last = folder.name.rpartition(folder.delimiter)[2] if folder.delimiter else folder.name
    return RANKS.get(fold(last), _UNKNOWN)


def _inbox_prefix(folders: Iterable[ListedFolder]) -> bytes | None:
    """`INBOX.` or the like: many servers have all folders below INBOX (RFC 2342 section 5)."""
    inbox = next((folder for folder in folders if folder.raw.upper() == b"INBOX" and folder.delimiter), None)
    return inbox.raw + (inbox.delimiter or "").encode("latin-1") if inbox else None

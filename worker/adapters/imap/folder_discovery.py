"""Finds the Sent folder: by the server's SPECIAL-USE flags (RFC 6154), else by a known name.

Never lists all folders: with SPECIAL-USE the server filters, without it one level is listed at a time.
"""

import unicodedata
from collections.abc import Iterable

from worker.adapters.imap.errors import Refused
from worker.adapters.imap.namespaces import Namespaces
from worker.adapters.imap.responses import ListedFolder
from worker.adapters.imap.session import ImapSession

# Names that mail programs and providers give to the Sent folder, for servers without SPECIAL-USE flags, in order of
# preference: if a mailbox has several, the first one in this list is used.
KNOWN_NAMES = (
    "Sent",
    "Sent Items",
    "Sent Messages",
    "Sent Mail",
    "Sent-Mail",
    "Sent_Mail",
    "Отправленные",
    "Отправленные элементы",
    "Отправленные письма",
    "Надіслані",
    "Відправлені",
    "Адпраўленыя",
    "Изпратени",
    "Послато",
    "Жіберілгендер",
    "Gesendet",
    "Gesendete Objekte",
    "Gesendete Elemente",
    "Éléments envoyés",
    "Messages envoyés",
    "Envoyés",
    "Elementos enviados",
    "Mensajes enviados",
    "Enviados",
    "Itens enviados",
    "Mensagens enviadas",
    "Enviats",
    "Posta inviata",
    "Inviata",
    "Inviati",
    "Verzonden",
    "Verzonden items",
    "Verzonden berichten",
    "Wysłane",
    "Elementy wysłane",
    "Odeslané",
    "Odeslaná pošta",
    "Odoslané",
    "Odoslaná pošta",
    "Poslano",
    "Poslane",
    "Elküldött",
    "Elküldött elemek",
    "Trimise",
    "Elemente trimise",
    "Skickat",
    "Skickade",
    "Sendt",
    "Sendte elementer",
    "Lähetetyt",
    "Saadetud",
    "Nosūtītie",
    "Išsiųsta",
    "Gönderilmiş Öğeler",
    "Gönderilenler",
    "Gönderilmiş",
    "Απεσταλμένα",
    "דואר יוצא",
    "פריטים שנשלחו",
    "العناصر المرسلة",
    "المرسلة",
    "已发送",
    "已发送邮件",
    "寄件備份",
    "送信済み",
    "送信済みアイテム",
    "送信済みメール",
    "보낸 편지함",
    "보낸메일함",
    "รายการที่ถูกส่ง",
    "Đã gửi",
    "Terkirim",
    "Item Terkirim",
)


# Normalising is quadratic in a run of combining marks, and no name in the list is longer than this.
MAX_FOLDED_CHARS = 100


def fold(name: str) -> str:
    """Normalise a name for comparison: servers and programs differ in case and in how they compose accents.

    A name too long to be a known one stays unchanged.
    """
    if len(name) > MAX_FOLDED_CHARS:
        return name
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


RANKS = {fold(name): rank for rank, name in reversed(list(enumerate(KNOWN_NAMES)))}


_SENT = "\\sent"
_UNKNOWN = len(RANKS)


async def locate(session: ImapSession) -> ListedFolder | None:
    """The Sent folder; None when none can be recognised. Raises `ImapTrouble`.

    Another user's or a shared Sent folder is never taken for the mailbox's own, whatever its flags and name.
    """
    if session.has("SPECIAL-USE"):
        # A server that shows the flags but cannot filter by them (no LIST-EXTENDED) refuses this.
        namespaces, [special] = await session.survey(b"*", selection="(SPECIAL-USE)")
        if not isinstance(special, Refused) and (found := _flagged(_own(namespaces, special))):
            return found
    namespaces, [top] = await session.survey(b"%")
    if isinstance(top, Refused):
        raise top
    if found := _recognised(namespaces, top):
        return found
    for start in _starts(namespaces, top):
        if found := _recognised(namespaces, await session.list_folders(start + b"%")):
            return found
    return None


def _own(namespaces: Namespaces, folders: Iterable[ListedFolder]) -> list[ListedFolder]:
    return [folder for folder in folders if namespaces.is_own(folder.raw)]


def _recognised(namespaces: Namespaces, folders: Iterable[ListedFolder]) -> ListedFolder | None:
    own = _own(namespaces, folders)
    return _flagged(own) or _known(own)


def _starts(namespaces: Namespaces, top: Iterable[ListedFolder]) -> Iterable[bytes]:
    """Possible prefixes of the mailbox's folder names, besides none; often INBOX (RFC 2342 section 5)."""
    starts = [each.start for each in namespaces.personal if each.start]
    if (prefix := _inbox_prefix(top)) is not None:
        starts.append(prefix)
    return dict.fromkeys(starts)


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
    """`INBOX.` or similar: many servers keep all folders below INBOX (RFC 2342 section 5)."""
    inbox = next((folder for folder in folders if folder.raw.upper() == b"INBOX" and folder.delimiter), None)
    return inbox.raw + (inbox.delimiter or "").encode("latin-1") if inbox else None

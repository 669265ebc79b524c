"""Which folder is the Sent folder: what the server says by SPECIAL-USE (RFC 6154), else a known name.

Never asks for all folders: with SPECIAL-USE the server selects, without it one level is asked for at a time.
"""

import unicodedata
from collections.abc import Iterable

from worker.adapters.imap.errors import Refused
from worker.adapters.imap.namespaces import Namespaces
from worker.adapters.imap.responses import ListedFolder
from worker.adapters.imap.session import ImapSession

# Names that mail programs and providers give to the Sent folder, where the server does not say which it is, in order
# of preference: where a mailbox has several, the first of this list that it has is taken.
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


# Normalising costs the square of a run of combining marks, and a longer name than this is none of the list's.
MAX_FOLDED_CHARS = 100


def fold(name: str) -> str:
    """A name for comparing: servers and programs differ in case and in how they compose accents.

    One that is too long to be a known name stays as it is.
    """
    if len(name) > MAX_FOLDED_CHARS:
        return name
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


RANKS = {fold(name): rank for rank, name in reversed(list(enumerate(KNOWN_NAMES)))}


_SENT = "\\sent"
_UNKNOWN = len(RANKS)


async def locate(session: ImapSession) -> ListedFolder | None:
    """The Sent folder; None when there is none that can be recognised. Raises `ImapTrouble`.

    Another user's Sent folder, or a shared one, is never taken for the mailbox's own, whatever its flags and name.
    """
    if session.has("SPECIAL-USE"):
        # Where the flags are shown but cannot be asked for (no LIST-EXTENDED), the answer is a refusal.
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
    """What the names of the mailbox's folders may begin with, besides nothing; often INBOX (RFC 2342 section 5)."""
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
    """`INBOX.` or the like: many servers have all folders below INBOX (RFC 2342 section 5)."""
    inbox = next((folder for folder in folders if folder.raw.upper() == b"INBOX" and folder.delimiter), None)
    return inbox.raw + (inbox.delimiter or "").encode("latin-1") if inbox else None

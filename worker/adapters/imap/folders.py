"""Names that mail programs and providers give to the Sent folder, where the server does not say which it is."""

import unicodedata

# In order of preference: where a mailbox has several, the first of this list that it has is taken.
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

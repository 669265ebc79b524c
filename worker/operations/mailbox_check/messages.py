"""Texts for people that complement the hints of the reasons, in English and in Russian."""

from typing import Any

from worker.delivery.sent_copy.jobs import classify_copy
from worker.domain.failure.classify import Classification, classify
from worker.domain.failure.copy_hints import copy_hint
from worker.domain.failure.hints import Hint, hint_for
from worker.domain.providers import Provider
from worker.domain.results.models import ServerReply, server_reply
from worker.domain.snapshot.model import Auth, PasswordAuth
from worker.domain.transmission import DeliveryFailure, FailureKind
from worker.domain.vocabulary import Reason, Security

APP_PASSWORD = Hint(
    en="If two-factor sign-in is on, this provider wants an app password here instead of the usual one.",
    ru="Если включён двухфакторный вход, здесь нужен пароль приложения, а не обычный пароль.",
)
OTHER_SIGN_IN = Hint(
    en="This provider takes no password any more: connect the mailbox by signing in (OAuth 2).",
    ru="Эта почтовая служба больше не принимает пароль: подключите ящик через вход (OAuth 2).",
)
ENDS_SOON = Hint(
    en="The certificate of the mail server ends soon. Ask whoever runs the server to renew it; "
    "after that day no letter leaves.",
    ru="Срок действия сертификата почтового сервера скоро истекает. Попросите администратора сервера обновить его: "
    "после этого дня письма уходить не будут.",
)
BAD_CERTIFICATE = Hint(
    en="The mail server's certificate is not good: ended, of another name, or of nobody who is trusted; the step's "
    "detail says which. Give the server's name as its provider writes it, or ask whoever runs the server to renew it.",
    ru="Сертификат почтового сервера не годится: истёк, выдан для другого имени или никем из доверенных; что именно, "
    "указано в подробностях шага. Укажите имя сервера так, как его пишет почтовая служба, или попросите администратора "
    "сервера обновить сертификат.",
)
IMAP_STARTTLS = Hint(
    en="For IMAP choose TLS from the first byte (security “tls”), usually port 993: STARTTLS is not supported there.",
    ru="Для IMAP выберите TLS с самого начала (security «tls»), обычно порт 993: STARTTLS здесь не поддерживается.",
)
NO_SENT_FOLDER = Hint(
    en="No folder is marked as Sent or has a usual name. Name the folder in the mailbox's settings; "
    "without it letters are sent, but their copies are not saved.",
    ru="Папка отправленных не найдена: ни отметки сервера, ни обычного имени. Укажите имя папки в настройках ящика; "
    "без этого письма уходят, но копии не сохраняются.",
)
READ_ONLY = Hint(
    en="The Sent folder cannot be written to by this user, so copies are not saved. "
    "Give the user the right to add letters there, or name another folder.",
    ru="У этого пользователя нет права записи в папку отправленных, поэтому копии не сохраняются. "
    "Дайте право добавлять письма или укажите другую папку.",
)
FULL = Hint(
    en="There is no room left in the mailbox, so copies cannot be saved. Delete letters or get more space.",
    ru="В ящике не осталось места, поэтому копии не сохранить. Удалите лишние письма или увеличьте объём.",
)
LITTLE_ROOM = Hint(
    en="There is little room left in the mailbox: the copy of a letter with many files may not fit. "
    "Delete letters or get more space.",
    ru="В ящике осталось мало места: копия письма с большими файлами может не поместиться. "
    "Удалите лишние письма или увеличьте объём.",
)
NO_MX = Hint(
    en="The domain of this address has no mail server that receives (MX). Replies get lost, and receivers may refuse "
    "the letters. Ask whoever runs the domain to add an MX record.",
    ru="У домена этого адреса нет сервера для входящей почты (MX). Ответы потеряются, а получатели могут не принимать "
    "письма. Попросите администратора домена добавить запись MX.",
)
NULL_MX = Hint(
    en="The domain of this address says that it receives no mail (null MX). Replies get lost, and many receivers "
    "refuse letters from such domains. Send from an address of a domain that receives mail.",
    ru="Домен этого адреса объявил, что не принимает почту (null MX). Ответы потеряются, и многие получатели не примут "
    "письма. Отправляйте с адреса домена, который принимает почту.",
)
NO_SPF = Hint(
    en="The domain of this address has no SPF record, so letters may land in spam. Add the TXT record that your mail "
    "provider's help names.",
    ru="У домена этого адреса нет записи SPF, поэтому письма могут попадать в спам. Добавьте запись TXT, указанную "
    "в справке вашей почтовой службы.",
)
SPF_DOES_NOT_COVER = Hint(
    en="The domain's SPF record does not name this mail server. If letters leave from other addresses of your "
    "provider, the record may be right all the same: compare it with your provider's help; if not, letters land in "
    "spam.",
    ru="Запись SPF домена не называет этот почтовый сервер. Если письма уходят с других адресов вашей почтовой службы, "
    "запись может быть верной: сверьте её со справкой службы; если нет, письма попадут в спам.",
)
BROKEN_SPF = Hint(
    en="The domain's SPF record is broken, and receivers treat it as if there were none or refuse the letters. "
    "The step's detail says what is wrong; ask whoever runs the domain to mend it.",
    ru="Запись SPF домена ошибочна: получатели считают, что её нет, или отклоняют письма. "
    "В подробностях шага указано, что не так; попросите администратора домена исправить запись.",
)
BAD_DKIM = Hint(
    en="The test letter arrived, but no DKIM signature of its domain holds. Turn on DKIM in the settings of your mail "
    "provider and add its key to the domain's records.",
    ru="Тестовое письмо дошло, но верной подписи DKIM от его домена нет. Включите DKIM в настройках почтовой службы "
    "и добавьте её ключ в записи домена.",
)
NO_DKIM = Hint(
    en="No DKIM key was found under the usual names. The domain may have one under another name: send a test letter to "
    "the mailbox itself to be sure. Without DKIM letters may land in spam.",
    ru="Под обычными именами ключ DKIM не найден. Он может быть под другим именем: чтобы узнать точно, отправьте "
    "тестовое письмо на адрес самого ящика. Без DKIM письма могут попадать в спам.",
)
NO_DMARC = Hint(
    en="The domain has no DMARC record. Large providers want one from senders: add the TXT record _dmarc, to begin "
    "with “v=DMARC1; p=none”.",
    ru="У домена нет записи DMARC. Крупные почтовые службы требуют её от отправителей: добавьте запись TXT _dmarc, "
    "для начала «v=DMARC1; p=none».",
)
BROKEN_DMARC = Hint(
    en="The domain's DMARC record is broken, so it counts for nothing. The step's detail says what is wrong.",
    ru="Запись DMARC домена ошибочна и потому не действует. В подробностях шага указано, что не так.",
)
STRICT_DMARC = Hint(
    en="The domain asks receivers (DMARC) to refuse or set aside letters without SPF and DKIM, and neither was found "
    "to hold for this mailbox: its letters may not arrive. Mend SPF or DKIM first.",
    ru="Домен просит получателей (DMARC) отклонять письма без SPF и DKIM или помещать их в спам, а для этого ящика "
    "не подтвердилось ни то, ни другое: письма могут не дойти. Сначала исправьте SPF или DKIM.",
)


def other_way(port: int, security: Security, *, is_same_port: bool) -> Hint:
    """The server answers with another port or security than configured."""
    kind = {
        Security.TLS: ("TLS from the first byte", "TLS с самого начала"),
        Security.STARTTLS: ("STARTTLS", "STARTTLS"),
        Security.NONE: ("no encryption at all", "без шифрования"),
    }[security]
    if is_same_port:
        return Hint(
            en=f"Port {port} of this server speaks {kind[0]}: choose security “{security.value}” for it.",
            ru=f"Порт {port} этого сервера работает так: {kind[1]}. Выберите для него security «{security.value}».",
        )
    return Hint(
        en=f"The server answers on port {port} with {kind[0]}: choose port {port} and security “{security.value}”.",
        ru=f"Сервер отвечает на порту {port} ({kind[1]}): выберите порт {port} и security «{security.value}».",
    )


def offers_no_tls(port: int) -> Hint:
    """The port answers, but without encryption."""
    return Hint(
        en=f"Port {port} of this server offers no encryption, and passwords are not sent without it.",
        ru=f"Порт {port} этого сервера не предлагает шифрования, а пароли без него не отправляются.",
    )


def joined(*hints: Hint) -> Hint:
    """Join hints into one."""
    return Hint(en=" ".join(hint.en for hint in hints), ru=" ".join(hint.ru for hint in hints))


SIGN_IN_REASONS = frozenset(
    {
        Reason.AUTH_FAILED,
        Reason.AUTH_APP_PASSWORD_REQUIRED,
        Reason.AUTH_BASIC_DISABLED,
        Reason.AUTH_CONFIRMATION_REQUIRED,
        Reason.AUTH_TOKEN_REVOKED,
    }
)
_REACHING = frozenset({Reason.DNS_FAILED, Reason.CONNECT_FAILED, Reason.TLS_FAILED, Reason.TIMEOUT})


def judge_smtp(trouble: DeliveryFailure, provider: Provider) -> Classification:
    """Classify the failure by the rules that apply to letters."""
    return classify(trouble, provider.name)


def smtp_facts(trouble: DeliveryFailure, provider: Provider, auth: Auth) -> dict[str, Any]:
    """The fields of a failed step in the SMTP part."""
    judged = judge_smtp(trouble, provider)
    reason = judged.reason
    return {
        "reason": reason,
        "hint": BAD_CERTIFICATE
        if _is_about_certificate(trouble)
        else _hint(hint_for(reason, judged.remedy), judged, provider, auth),
        "reply": server_reply(trouble.reply),
        "help_url": help_url(reason, provider, auth),
        "detail": trouble.detail or None,
    }


def imap_facts(trouble: DeliveryFailure, provider: Provider, auth: Auth) -> dict[str, Any]:
    """The same for the IMAP part. IMAP has no reply codes: the server's text is in the failure's detail."""
    judged = classify_copy(trouble)
    reason = judged.reason
    is_said = trouble.fault is FailureKind.REPLY and bool(trouble.detail)
    return {
        "reason": reason,
        "hint": BAD_CERTIFICATE if _is_about_certificate(trouble) else _hint(copy_hint(reason), judged, provider, auth),
        "reply": ServerReply(code=None, text=trouble.detail) if is_said else None,
        "help_url": help_url(reason, provider, auth),
        "detail": None if is_said else trouble.detail or None,
    }


def _hint(hint: Hint, judged: Classification, provider: Provider, auth: Auth) -> Hint:
    """Where the provider has app passwords, say so: a wrong password is usually the account's ordinary one."""
    is_password_refused = judged.reason is Reason.AUTH_FAILED and judged.remedy is None
    if not is_password_refused or not isinstance(auth, PasswordAuth):
        return hint
    if provider.help_app_passwords is not None:
        return joined(hint, APP_PASSWORD)
    if provider.takes_password is False:
        return joined(hint, OTHER_SIGN_IN)
    return hint


def _is_about_certificate(trouble: DeliveryFailure) -> bool:
    """A certificate error shares its reason with failed handshakes; those are temporary, this is not."""
    return trouble.fault is FailureKind.TLS and "certificate" in trouble.detail


def help_url(reason: Reason, provider: Provider, auth: Auth) -> str | None:
    """The provider's own help page for this reason."""
    if reason in (Reason.AUTH_BASIC_DISABLED, Reason.AUTH_TOKEN_REVOKED) or not isinstance(auth, PasswordAuth):
        return provider.help_oauth if reason in SIGN_IN_REASONS else provider.help_smtp
    if reason in (Reason.AUTH_FAILED, Reason.AUTH_APP_PASSWORD_REQUIRED):
        return provider.help_app_passwords or provider.help_oauth or provider.help_smtp
    return provider.help_smtp if reason in _REACHING else None

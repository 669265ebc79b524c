"""Hints for people about copies that were not saved: the letters themselves leave, and must not be sent again."""

from collections.abc import Mapping
from types import MappingProxyType

from worker.domain.failure.hints import Hint, hint_for
from worker.domain.vocabulary import Reason


def _copies(en: str, ru: str) -> Hint:
    return Hint(
        en=f"Only copies in Sent are affected, not the letters: {en}",
        ru=f"Это касается только копий в папке отправленных, не самих писем: {ru}",
    )


_AGAIN = ("The copy is tried again by itself.", "Попытка сохранить копию повторится сама.")

COPY_HINTS: Mapping[Reason, Hint] = MappingProxyType(
    {
        Reason.SENT_FOLDER_MISSING: _copies(
            en="no folder for sent letters was recognised, or the one in the mailbox's settings does not exist. "
            "Name the folder in the mailbox's settings.",
            ru="папка отправленных не найдена, или папки, указанной в настройках ящика, нет. "
            "Укажите имя папки в настройках ящика.",
        ),
        Reason.SENT_FOLDER_DENIED: _copies(
            en="the mail server does not let this user save them in the folder for sent letters; its answer says why. "
            "Give the user the right to add letters there, or name another folder in the mailbox's settings.",
            ru="почтовый сервер не разрешает этому пользователю сохранять их в папке отправленных; причина указана "
            "в его ответе. Дайте право добавлять письма в неё или укажите в настройках ящика другую папку.",
        ),
        Reason.MAILBOX_FULL: _copies(
            en="there is no room left in the mailbox. Delete letters or get more space.",
            ru="в ящике не осталось места. Удалите лишние письма или увеличьте объём.",
        ),
        Reason.MESSAGE_TOO_LARGE: _copies(
            en="the copy is larger than may be saved. Send fewer or smaller files, or files as links, if copies are to "
            "be kept.",
            ru="копия больше, чем можно сохранить. Чтобы копии сохранялись, отправляйте меньше файлов, файлы поменьше "
            "или ссылки.",
        ),
        Reason.MESSAGE_REJECTED: _copies(
            en="the mail server did not accept the copy of this one; its answer says why.",
            ru="почтовый сервер не принял копию именно этого письма; причина указана в его ответе.",
        ),
        Reason.AUTH_FAILED: _copies(
            en="the IMAP server did not accept the user name or the password. Check both in the mailbox's settings. If "
            "two-factor sign-in is on, or with Gmail, Yandex and Mail.ru, an app password may be needed, and IMAP may "
            "have to be turned on in the mail account.",
            ru="сервер IMAP не принял имя пользователя или пароль. Проверьте их в настройках ящика. Для Gmail, Яндекса "
            "и Mail.ru и при двухфакторном входе может понадобиться пароль приложения, а доступ по IMAP может быть "
            "выключен в почтовом аккаунте.",
        ),
        Reason.AUTH_APP_PASSWORD_REQUIRED: _copies(
            en="the IMAP server wants an app password. Create one in the security settings of the mail account and "
            "enter it in the mailbox's settings.",
            ru="серверу IMAP нужен пароль приложения. Создайте его в настройках безопасности почтового аккаунта "
            "и укажите в настройках ящика.",
        ),
        Reason.AUTH_BASIC_DISABLED: _copies(
            en="the IMAP server does not offer the kind of sign-in that this mailbox has. Connect the mailbox in "
            "another way, such as OAuth 2 (signing in with Microsoft or Google), or ask the provider to allow this one "
            "for IMAP.",
            ru="сервер IMAP не предлагает тот способ входа, который настроен для ящика. Подключите ящик иначе, "
            "например через OAuth 2 (вход в Microsoft или Google), или попросите почтовую службу разрешить этот способ "
            "для IMAP.",
        ),
        Reason.AUTH_CONFIRMATION_REQUIRED: _copies(
            en="the mail service wants to make sure that it is you. Sign in to the mailbox in a browser (the server's "
            "answer may have the link) and confirm what is asked.",
            ru="почтовая служба хочет убедиться, что это вы. Войдите в ящик через браузер (ссылка может быть в ответе "
            "сервера) и подтвердите то, о чём спросят.",
        ),
        Reason.AUTH_TOKEN_REVOKED: _copies(
            en="the permission to use this mailbox has ended or was withdrawn. Connect the mailbox anew in its "
            "settings.",
            ru="разрешение на доступ к ящику истекло или отозвано. Подключите ящик заново в его настройках.",
        ),
        Reason.TEMPORARILY_UNAVAILABLE: _copies(
            en=f"the mail server cannot save them at the moment. {_AGAIN[0]}",
            ru=f"почтовый сервер пока не может их сохранить. {_AGAIN[1]}",
        ),
        Reason.RATE_LIMITED: _copies(
            en=f"the mail server asks to come back later with them. {_AGAIN[0]}",
            ru=f"почтовый сервер просит прийти с ними позже. {_AGAIN[1]}",
        ),
        Reason.TOO_MANY_CONNECTIONS: _copies(
            en=f"the mail server has too many connections from this mailbox. {_AGAIN[0]} If it happens often, close "
            "other mail programs that use the mailbox.",
            ru=f"у почтового сервера слишком много подключений от этого ящика. {_AGAIN[1]} Если это бывает часто, "
            "закройте другие почтовые программы, которые используют ящик.",
        ),
        Reason.DNS_FAILED: _copies(
            en="the name of the IMAP server was not found. Check it in the mailbox's settings for a typing mistake.",
            ru="не удалось найти сервер IMAP по имени. Проверьте, нет ли опечатки в имени сервера в настройках ящика.",
        ),
        Reason.CONNECT_FAILED: _copies(
            en="could not connect to the IMAP server. Check host, port and TLS in the mailbox's settings; if they are "
            "right, the server may be down or may not admit us.",
            ru="не удалось подключиться к серверу IMAP. Проверьте адрес сервера, порт и TLS в настройках ящика; если "
            "всё верно, сервер может быть недоступен или не пускать нас.",
        ),
        Reason.EGRESS_DENIED: _copies(
            en="connections to this address or port of the IMAP server are not allowed. Give a server that is "
            "reachable from the internet on port 993, or ask the administrator of the service.",
            ru="подключаться к этому адресу или порту сервера IMAP запрещено. Укажите сервер, доступный из интернета "
            "по порту 993, или обратитесь к администратору сервиса.",
        ),
        Reason.TLS_FAILED: _copies(
            en="no secure connection to the IMAP server came about. This usually passes by itself; if it does not, "
            "check port and TLS in the mailbox's settings, and the server's certificate.",
            ru="не удалось установить защищённое соединение с сервером IMAP. Обычно это проходит само; если нет, "
            "проверьте порт и TLS в настройках ящика и сертификат сервера.",
        ),
        Reason.TIMEOUT: _copies(
            en=f"the IMAP server did not answer in time. {_AGAIN[0]} If it goes on, check host, port and TLS in the "
            "mailbox's settings.",
            ru=f"сервер IMAP не ответил вовремя. {_AGAIN[1]} Если это продолжается, проверьте адрес сервера, порт "
            "и TLS в настройках ящика.",
        ),
        Reason.DISCONNECTED: _copies(
            en=f"the IMAP server closed the connection. {_AGAIN[0]}",
            ru=f"сервер IMAP закрыл соединение. {_AGAIN[1]}",
        ),
        Reason.EXPIRED: _copies(
            en="the copy could not be saved in the time it had, and is not tried any more. See what stood in the way "
            "of the earlier attempts.",
            ru="копию не удалось сохранить за отведённое время, новых попыток не будет. Посмотрите, что мешало прежним "
            "попыткам.",
        ),
        Reason.SENDER_UNAVAILABLE: _copies(
            en="the mailbox is not in the settings any more.",
            ru="ящика больше нет в настройках.",
        ),
        Reason.INTERNAL_ERROR: _copies(
            en="something went wrong on our side; your settings are not the cause. If copies stay away, please tell "
            "support.",
            ru="что-то пошло не так на нашей стороне, ваши настройки ни при чём. Если копии не появляются, сообщите "
            "в поддержку.",
        ),
    }
)


def copy_hint(reason: Reason) -> Hint:
    """The hint of a reason that concerns a copy."""
    return COPY_HINTS.get(reason) or hint_for(reason)

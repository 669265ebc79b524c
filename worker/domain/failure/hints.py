"""Hints for people about each reason: what happened and what to do, in English and in Russian.

The readers are authors of comments and administrators of mailboxes, not programmers. Which provider's page belongs to
a hint is data about providers and is added elsewhere.
"""

from collections.abc import Mapping
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, Field

from worker.domain.failure.judgements import Remedy
from worker.domain.vocabulary import Reason


class Hint(BaseModel):
    """A short text for people."""

    model_config = ConfigDict(frozen=True)

    en: str = Field(min_length=1, description="in English")
    ru: str = Field(min_length=1, description="in Russian")


HINTS: Mapping[Reason, Hint] = MappingProxyType(
    {
        Reason.RECIPIENT_UNKNOWN: Hint(
            en="The recipient's server says there is no such address. Check the address for a typing mistake, "
            "or ask the recipient for the right one.",
            ru="Сервер получателя сообщает, что такого адреса нет. Проверьте, нет ли в адресе опечатки, "
            "или уточните его у получателя.",
        ),
        Reason.RECIPIENT_MAILBOX_FULL: Hint(
            en="The recipient's mailbox is full. Reach the recipient in another way, or write again "
            "when there is room in the mailbox.",
            ru="Почтовый ящик получателя переполнен. Свяжитесь с ним другим способом "
            "или напишите ещё раз, когда в ящике появится место.",
        ),
        Reason.RECIPIENT_REFUSED: Hint(
            en="The recipient's server does not accept letters for this address from you. "
            "Read the server's answer; the recipient's mail administrator can say more.",
            ru="Сервер получателя не принимает от вас письма на этот адрес. "
            "Прочитайте ответ сервера; подробнее может сказать почтовый администратор получателя.",
        ),
        Reason.MESSAGE_TOO_LARGE: Hint(
            en="The letter is larger than the mail server allows. Send fewer or smaller files, or send files as links.",
            ru="Письмо больше, чем допускает почтовый сервер. Отправьте меньше файлов, файлы поменьше "
            "или ссылки вместо файлов.",
        ),
        Reason.MESSAGE_REJECTED: Hint(
            en="The mail server did not accept the letter. Its answer says why; "
            "change what it objects to and send the letter again.",
            ru="Почтовый сервер не принял письмо. Причина указана в его ответе: "
            "исправьте то, что ему не понравилось, и отправьте письмо ещё раз.",
        ),
        Reason.MESSAGE_REJECTED_SPAM: Hint(
            en="The mail server takes the letter for spam. Change the text, leave out doubtful links, and wait "
            "before writing again; if it happens often, ask the mailbox's provider to remove the block.",
            ru="Почтовый сервер принял письмо за спам. Измените текст, уберите сомнительные ссылки и напишите позже; "
            "если это повторяется, попросите почтовую службу снять ограничение с ящика.",
        ),
        Reason.SENDER_DOMAIN_UNAUTHENTICATED: Hint(
            en="The recipient's server could not verify the sender's domain. Ask the domain's administrator to set up "
            "the SPF, DKIM and DMARC records for the server that letters leave from.",
            ru="Сервер получателя не смог проверить домен отправителя. Попросите администратора домена настроить "
            "записи SPF, DKIM и DMARC для сервера, с которого уходят письма.",
        ),
        Reason.SENDER_NOT_OWNED: Hint(
            en="The mail server does not allow this user name to send from this address. In the mailbox's settings, "
            "give the user name that the address belongs to, or ask the provider for the right to send from it.",
            ru="Почтовый сервер не разрешает этому пользователю отправлять письма с этого адреса. Укажите в настройках "
            "ящика имя пользователя, которому принадлежит адрес, или получите у почтовой службы право отправки с него.",
        ),
        Reason.AUTH_FAILED: Hint(
            en="The mail server did not accept the user name or the password. Check both in the mailbox's settings. "
            "If two-factor sign-in is on, or with Gmail, Yandex and Mail.ru, an app password may be needed.",
            ru="Почтовый сервер не принял имя пользователя или пароль. Проверьте их в настройках ящика. "
            "Для Gmail, Яндекса и Mail.ru и при двухфакторном входе может понадобиться пароль приложения.",
        ),
        Reason.AUTH_APP_PASSWORD_REQUIRED: Hint(
            en="This mailbox needs an app password: Gmail, Yandex and Mail.ru do not accept the usual password here. "
            "Create one in the security settings of the mail account and enter it in the mailbox's settings.",
            ru="Для этого ящика нужен пароль приложения: Gmail, Яндекс и Mail.ru не принимают здесь обычный пароль. "
            "Создайте его в настройках безопасности почтового аккаунта и укажите в настройках ящика.",
        ),
        Reason.AUTH_BASIC_DISABLED: Hint(
            en="The mail service no longer accepts passwords for sending. "
            "Connect the mailbox anew by signing in with Microsoft or Google (OAuth 2).",
            ru="Почтовая служба больше не принимает пароль для отправки писем. "
            "Подключите ящик заново через вход в Microsoft или Google (OAuth 2).",
        ),
        Reason.AUTH_CONFIRMATION_REQUIRED: Hint(
            en="The mail service wants to make sure that it is you. Sign in to the mailbox in a browser "
            "(the server's answer may have the link), confirm what is asked, and then resume the mailbox.",
            ru="Почтовая служба хочет убедиться, что это вы. Войдите в ящик через браузер (ссылка может быть "
            "в ответе сервера), подтвердите то, о чём спросят, и возобновите отправку из ящика.",
        ),
        Reason.AUTH_TOKEN_REVOKED: Hint(
            en="The permission to send from this mailbox has ended or was withdrawn. "
            "Connect the mailbox anew in its settings.",
            ru="Разрешение на отправку из этого ящика истекло или отозвано. Подключите ящик заново в его настройках.",
        ),
        Reason.QUOTA_EXCEEDED: Hint(
            en="The mailbox has sent as many letters as its provider allows for now, usually per day. "
            "Letters wait and go out by themselves later; for more, choose another plan or mailbox.",
            ru="Ящик отправил столько писем, сколько сейчас позволяет почтовая служба, обычно за сутки. "
            "Письма подождут и уйдут сами позже; если этого мало, смените тариф или ящик.",
        ),
        Reason.RATE_LIMITED: Hint(
            en="The mail server asks to send more slowly. Nothing needs to be done: the letter is tried again.",
            ru="Почтовый сервер просит отправлять реже. Делать ничего не нужно: отправка повторится сама.",
        ),
        Reason.TOO_MANY_CONNECTIONS: Hint(
            en="The mail server has too many connections from this mailbox. The letter is tried again; if it happens "
            "often, lower the number of connections in the mailbox's settings or close other mail programs.",
            ru="У почтового сервера слишком много подключений от этого ящика. Отправка повторится сама; если это "
            "бывает часто, уменьшите число подключений в настройках ящика или закройте другие почтовые программы.",
        ),
        Reason.MAILBOX_BLOCKED: Hint(
            en="The mail service has blocked sending from this mailbox. Sign in to it in a browser, see what the "
            "service says, write to its support if needed, and then resume the mailbox.",
            ru="Почтовая служба заблокировала отправку из этого ящика. Войдите в него через браузер, посмотрите "
            "сообщение службы, при необходимости напишите в поддержку, затем возобновите отправку из ящика.",
        ),
        Reason.MAILBOX_FULL: Hint(
            en="The sender's own mailbox is full, so its server accepts nothing more. "
            "Delete letters or get more space, and then resume the mailbox.",
            ru="Ящик отправителя переполнен, поэтому сервер больше ничего не принимает. "
            "Удалите лишние письма или увеличьте объём и возобновите отправку из ящика.",
        ),
        Reason.GREYLISTED: Hint(
            en="The recipient's server accepts letters from new senders only at a second attempt. "
            "Nothing needs to be done: the letter is tried again.",
            ru="Сервер получателя принимает письма от новых отправителей только со второй попытки. "
            "Делать ничего не нужно: отправка повторится сама.",
        ),
        Reason.TEMPORARILY_UNAVAILABLE: Hint(
            en="The receiving side is busy and asks to come back later. "
            "Nothing needs to be done: the letter is tried again.",
            ru="Принимающая сторона занята и просит зайти позже. Делать ничего не нужно: отправка повторится сама.",
        ),
        Reason.RECIPIENT_LIMIT_REACHED: Hint(
            en="Too many letters to this address within ten minutes, so this one was not sent. If an automatic reply "
            "or a scenario writes to the address again and again, switch it off; otherwise write again later.",
            ru="За десять минут на этот адрес отправлено слишком много писем, поэтому это письмо не отправлено. Если "
            "на адрес раз за разом пишет автоответчик или сценарий, отключите его; иначе напишите позже.",
        ),
        Reason.SENT_FOLDER_MISSING: Hint(
            en="No folder for sent letters was recognised in the mailbox, or the one in its settings does not exist, "
            "so copies are not saved. Name the folder in the mailbox's settings.",
            ru="Папка отправленных в ящике не найдена, или папки, указанной в настройках, нет, поэтому копии "
            "не сохраняются. Укажите имя папки в настройках ящика.",
        ),
        Reason.SENT_FOLDER_DENIED: Hint(
            en="The mail server does not let this user add letters to the folder for sent ones, so copies are not "
            "saved. Give the user the right to, or name another folder in the mailbox's settings.",
            ru="Почтовый сервер не разрешает этому пользователю добавлять письма в папку отправленных, поэтому копии "
            "не сохраняются. Дайте такое право или укажите в настройках ящика другую папку.",
        ),
        Reason.DNS_FAILED: Hint(
            en="The name of the mail server was not found. "
            "Check the server's name in the mailbox's settings for a typing mistake.",
            ru="Не удалось найти почтовый сервер по имени. "
            "Проверьте, нет ли опечатки в имени сервера в настройках ящика.",
        ),
        Reason.CONNECT_FAILED: Hint(
            en="Could not connect to the mail server. Check host, port and TLS in the mailbox's settings; "
            "if they are right, the server may be down or may not admit us.",
            ru="Не удалось подключиться к почтовому серверу. Проверьте адрес сервера, порт и TLS в настройках ящика; "
            "если всё верно, сервер может быть недоступен или не пускать нас.",
        ),
        Reason.EGRESS_DENIED: Hint(
            en="Connections to this server address or port are not allowed. Give a mail server that is reachable from "
            "the internet on a usual mail port (465 or 587; 993 for IMAP), or ask the administrator of the service.",
            ru="Подключаться к этому адресу или порту сервера запрещено. Укажите почтовый сервер, доступный "
            "из интернета по обычному почтовому порту (465 или 587; для IMAP 993), "
            "или обратитесь к администратору сервиса.",
        ),
        Reason.TLS_FAILED: Hint(
            en="No secure connection to the mail server came about. This usually passes by itself; if it does not, "
            "check port and TLS in the mailbox's settings, and the server's certificate.",
            ru="Не удалось установить защищённое соединение с почтовым сервером. Обычно это проходит само; если нет, "
            "проверьте порт и TLS в настройках ящика и сертификат сервера.",
        ),
        Reason.TIMEOUT: Hint(
            en="The mail server did not answer in time. The letter is tried again; if it goes on, "
            "check host, port and TLS in the mailbox's settings.",
            ru="Почтовый сервер не ответил вовремя. Отправка повторится сама; если это продолжается, "
            "проверьте адрес сервера, порт и TLS в настройках ящика.",
        ),
        Reason.DISCONNECTED: Hint(
            en="The mail server closed the connection before it accepted the letter. "
            "Nothing needs to be done: the letter is tried again.",
            ru="Почтовый сервер закрыл соединение, не приняв письмо. Делать ничего не нужно: отправка повторится сама.",
        ),
        Reason.OUTCOME_UNKNOWN: Hint(
            en="The letter was handed over, but the server did not answer, so nobody knows whether it was accepted. "
            "Ask the recipient before you send it again: it may arrive twice.",
            ru="Письмо передано, но сервер не ответил, поэтому неизвестно, принято ли оно. "
            "Прежде чем отправлять его ещё раз, спросите получателя: письмо может прийти дважды.",
        ),
        Reason.EXPIRED: Hint(
            en="The letter could not be sent in the time it had, and it is not tried any more. "
            "See what stood in the way of the earlier attempts, and write again.",
            ru="Письмо не удалось отправить за отведённое время, новых попыток не будет. "
            "Посмотрите, что мешало прежним попыткам, и напишите ещё раз.",
        ),
        Reason.SENDER_UNAVAILABLE: Hint(
            en="The author, the account or the chosen mailbox was not found in the settings. "
            "It may have been deleted: choose another mailbox and write again.",
            ru="Автор, аккаунт или выбранный ящик не найден в настройках. "
            "Возможно, он удалён: выберите другой ящик и напишите ещё раз.",
        ),
        Reason.SENDER_NOT_PERMITTED: Hint(
            en="The chosen mailbox may not be used here: it is turned off, belongs to another project, or the author "
            "has no access to it. Choose another mailbox, or ask the administrator for access.",
            ru="Выбранный ящик нельзя использовать здесь: он выключен, относится к другому проекту или у автора нет "
            "к нему доступа. Выберите другой ящик или попросите доступ у администратора.",
        ),
        Reason.FILE_UNAVAILABLE: Hint(
            en="A file of the letter could not be downloaded. Attach it again and write again.",
            ru="Не удалось загрузить файл для письма. Приложите его заново и напишите ещё раз.",
        ),
        Reason.INVALID_EVENT: Hint(
            en="The request to send the letter was incomplete or wrong, so it was not sent. "
            "Please tell support: this cannot be mended in the mailbox's settings.",
            ru="Запрос на отправку письма был неполным или ошибочным, поэтому письмо не ушло. "
            "Сообщите в поддержку: настройками ящика это не исправить.",
        ),
        Reason.INTERNAL_ERROR: Hint(
            en="Something went wrong on our side; your settings are not the cause. "
            "If the letter is not sent by itself, please tell support.",
            ru="Что-то пошло не так на нашей стороне, ваши настройки ни при чём. "
            "Если письмо не уйдёт само, сообщите в поддержку.",
        ),
    }
)


REMEDIES: Mapping[Remedy, Hint] = MappingProxyType(
    {
        Remedy.ADDRESS: Hint(
            en="The letter cannot be sent to this address as it is written. Correct the recipient's address "
            "and write again; what is wrong with it stands in the result's detail.",
            ru="Отправить письмо на адрес в таком написании нельзя. Исправьте адрес получателя и напишите ещё раз; "
            "что именно в нём не так, указано в подробностях результата.",
        ),
        Remedy.EHLO_NAME: Hint(
            en="The mail server refuses the name by which our service introduces itself; your settings are not the "
            "cause, and the letter is tried again. Operator: set SENDAS_LOCAL_HOSTNAME to a public host name.",
            ru="Почтовый сервер не принимает имя, которым представляется наш сервис; ваши настройки ни при чём, "
            "отправка повторится. Оператору: укажите в SENDAS_LOCAL_HOSTNAME публичное имя хоста.",
        ),
        Remedy.MECHANISM: Hint(
            en="The mail server does not take this way of signing in; the password itself was not refused. "
            "Name another one in the mailbox's settings (mechanism: plain, login or cram-md5), or leave it out.",
            ru="Почтовый сервер не поддерживает такой способ входа; сам пароль он не отклонял. "
            "Укажите в настройках ящика другой способ (mechanism: plain, login или cram-md5) или уберите его.",
        ),
    }
)
"""For failures whose reason's own hint would mislead."""


def hint_for(reason: Reason, remedy: Remedy | None = None) -> Hint:
    """The hint of a reason, or of the remedy that fits this case better; every reason has one."""
    return HINTS[reason] if remedy is None else REMEDIES[remedy]

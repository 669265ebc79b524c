"""A check's result for people: on a terminal in colours, elsewhere as plain text."""

from typing import Literal

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from worker.domain.results import CheckStepResult, MailboxChecked, ServerReply

Language = Literal["en", "ru"]

_WIDTH_WITHOUT_TERMINAL = 120
_NAME_CHARS = 34
_INDENT = 4

_TITLES: dict[str, dict[Language, str]] = {
    "settings": {"en": "Settings", "ru": "Настройки"},
    "dns": {"en": "SMTP server's name", "ru": "Имя SMTP-сервера"},
    "connect": {"en": "SMTP connection", "ru": "Соединение SMTP"},
    "tls": {"en": "SMTP encryption (TLS)", "ru": "Шифрование SMTP (TLS)"},
    "greeting": {"en": "SMTP greeting", "ru": "Приветствие SMTP"},
    "capabilities": {"en": "What the SMTP server offers", "ru": "Возможности SMTP-сервера"},
    "auth": {"en": "Sign-in", "ru": "Вход"},
    "sender": {"en": "Sender accepted", "ru": "Отправитель принят"},
    "test_letter": {"en": "Test letter", "ru": "Тестовое письмо"},
    "imap_dns": {"en": "IMAP server's name", "ru": "Имя IMAP-сервера"},
    "imap_connect": {"en": "IMAP connection", "ru": "Соединение IMAP"},
    "imap_tls": {"en": "IMAP encryption (TLS)", "ru": "Шифрование IMAP (TLS)"},
    "imap_greeting": {"en": "IMAP greeting", "ru": "Приветствие IMAP"},
    "imap_auth": {"en": "IMAP sign-in", "ru": "Вход в IMAP"},
    "sent_folder": {"en": "Sent folder", "ru": "Папка отправленных"},
    "sent_writable": {"en": "Sent folder can be written to", "ru": "Запись в папку отправленных"},
    "mx": {"en": "Domain receives mail (MX)", "ru": "Домен принимает почту (MX)"},
    "spf": {"en": "SPF", "ru": "SPF"},
    "dkim": {"en": "DKIM", "ru": "DKIM"},
    "dmarc": {"en": "DMARC", "ru": "DMARC"},
}
_WORDS: dict[str, dict[Language, str]] = {
    "advice": {"en": "advice", "ru": "совет"},
    "server": {"en": "server", "ru": "сервер"},
    "do": {"en": "what to do", "ru": "что делать"},
    "help": {"en": "help", "ru": "справка"},
    "good": {"en": "The mailbox can send.", "ru": "Из ящика можно отправлять письма."},
    "bad": {"en": "The mailbox cannot be used as it is.", "ru": "С такими настройками ящик работать не будет."},
}


def show_report(result: MailboxChecked, language: Language) -> None:
    """Print the report on standard output."""
    console = Console(highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console.width = _WIDTH_WITHOUT_TERMINAL
    console.print(Text(result.address or "", "bold"))
    for step in result.steps:
        _show_step(console, step, language)
    verdict = "good" if result.ok else "bad"
    console.print(Text(_WORDS[verdict][language], "bold green" if result.ok else "bold red"))


def _show_step(console: Console, step: CheckStepResult, language: Language) -> None:
    title = _TITLES.get(step.name, {}).get(language, step.name)
    note = f"  ({_WORDS['advice'][language]})" if step.ok is False and not step.required else ""
    seconds = f"{step.seconds:6.2f} s" if step.ok is not None else " " * 8
    console.print(Text.assemble(_mark(step), f" {title:<{_NAME_CHARS}}{seconds}", (note, "yellow")))
    for line in _lines(step, language):
        console.print(Padding(line, (0, 0, 0, _INDENT), expand=False))


def _mark(step: CheckStepResult) -> tuple[str, str]:
    if step.ok is None:
        return "–", "dim"
    if step.ok:
        return "✓", "green"
    return "✗", "red" if step.required else "yellow"


def _lines(step: CheckStepResult, language: Language) -> list[Text]:
    lines = []
    if step.reply is not None:
        lines.append(Text.assemble((f"{_WORDS['server'][language]}: ", "dim"), _reply(step.reply)))
    if step.detail:
        lines.append(Text(step.detail, "dim"))
    if step.hint is not None:
        text = step.hint.ru if language == "ru" else step.hint.en
        lines.append(Text.assemble((f"{_WORDS['do'][language]}: ", "bold"), text))
    if step.help_url is not None:
        lines.append(Text.assemble((f"{_WORDS['help'][language]}: ", "bold"), (step.help_url, "underline")))
    return lines


def _reply(reply: ServerReply) -> str:
    return " ".join(str(part) for part in (reply.code, reply.enhanced, reply.text) if part)

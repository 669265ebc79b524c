"""`sendas mailbox check`: one mailbox checked from here, and its report for a terminal."""

import asyncio
import json
import uuid
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from worker.adapters.snapshot.problems import complaints
from worker.app import open_outside
from worker.cli.common import print_json, read_bytes, say
from worker.cli.configured import configured
from worker.cli.snapshots import read_own_snapshot
from worker.cli.temporary_ledger import temporary_mailbox_memory
from worker.delivery.token_rotation import RefreshTokens
from worker.domain.addresses import EmailAddress
from worker.domain.results.models import CheckStepResult, MailboxChecked, ServerReply
from worker.domain.snapshot.model import Mailbox
from worker.domain.snapshot.secret_references import PLATFORM, References
from worker.errors import ConfigurationError
from worker.operations.mailbox_check.check import is_good
from worker.operations.mailbox_check.ports import Subject
from worker.settings import Settings

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


_SOURCE = "sendas mailbox check"
_MOST_ROTATED = 10
_ADDRESS: TypeAdapter[str] = TypeAdapter(EmailAddress)


def check(
    account: str | None = None,
    mailbox: str | None = None,
    /,
    *,
    snapshot: Path | None = None,
    file: Path | None = None,
    send_test_to: str | None = None,
    lang: Literal["en", "ru"] = "en",
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Check that a mailbox can send, step by step. Nothing is changed in it; a letter is sent only when asked for.

    Parameters
    ----------
    account
        The account's id in the snapshot.
    mailbox
        The mailbox's id in the account.
    snapshot
        A configuration snapshot (JSON); the one that SENDAS_SNAPSHOT_URL names when it is left out.
    file
        Instead of the snapshot and the mailbox's id: one mailbox as JSON, as it stands in a snapshot. Its sealed
        secrets are the account's, or without an account the platform's own.
    send_test_to
        Send a test letter there; to the mailbox's own address, its DKIM signature is looked at too.
    lang
        Language of what is to be done, for people.
    as_json
        Print JSON alone: the data of `mailbox.checked`.
    """
    settings = configured(is_quiet=True)
    account_id, found, references = _found(account, mailbox, snapshot, file, settings.reference_accounts)
    subject = Subject(
        account_id=account_id,
        mailbox=found,
        key=uuid.uuid4().hex,
        is_trusted=True,  # an operator's own file or snapshot
        test_to=_checked_address(send_test_to),
    )
    result = asyncio.run(_checked(settings, references, subject, is_saved=file is None))
    if as_json:
        print_json(result.model_dump(mode="json"))
    else:
        show_report(result, lang)
    return 0 if result.ok else 1


async def _checked(settings: Settings, references: References, subject: Subject, *, is_saved: bool) -> MailboxChecked:
    async with (
        temporary_mailbox_memory() as memory,
        open_outside(settings, memory.refresh_tokens, _no_matter, references=references) as outside,
    ):
        try:
            steps = await outside.check.run(subject)
        finally:
            await _say_rotated(memory.refresh_tokens)
    return MailboxChecked(
        account_id=subject.account_id,
        event_id=subject.key,
        event_source=_SOURCE,
        mailbox_id=subject.mailbox.id if is_saved else None,
        address=subject.mailbox.address,
        ok=is_good(steps),
        steps=steps,
    )


def _no_matter() -> None:
    """Do nothing: rotated tokens are reported at the end."""


async def _say_rotated(tokens: RefreshTokens) -> None:
    """Print rotated refresh tokens: the sign-in may have replaced the mailbox's, so the new one must be stored."""
    for rotation in await tokens.untold(_MOST_ROTATED):
        token = json.dumps({"sealed": rotation.sealed})
        say(f"the refresh token of {rotation.username} was replaced; put this one into the snapshot: {token}")


def _found(
    account: str | None, mailbox: str | None, snapshot: Path | None, file: Path | None, listed: frozenset[str]
) -> tuple[str, Mailbox, References]:
    """The account's id, the mailbox, and whose variables and files may serve as secrets.

    Raises:
        ConfigurationError: no mailbox is given.
    """
    if file is not None:
        if snapshot is not None or mailbox is not None:
            raise ConfigurationError("--file is a mailbox itself: give neither --snapshot nor a mailbox's id with it")
        return account or PLATFORM, _read_mailbox(file), References(None)
    if account is None or mailbox is None:
        raise ConfigurationError(
            "give an account's and a mailbox's id, with --snapshot if it is not the one in use, or --file"
        )
    directory, name, references = read_own_snapshot(snapshot, listed)
    known = directory.account(account)
    if known is None:
        why = "is left out: see `sendas config check`" if directory.is_left_out(account) else "is not there"
        raise ConfigurationError(f"{name}: the account {account} {why}")
    for each in known.mailboxes:
        if each.id == mailbox:
            return account, each, references
    raise ConfigurationError(f"{name}: the account {account} has no mailbox {mailbox}")


def _read_mailbox(file: Path) -> Mailbox:
    try:
        return Mailbox.model_validate_json(read_bytes(file))
    except ValidationError as error:
        path, message = complaints(error)[0]
        raise ConfigurationError(f"{file}: {path + ': ' if path else ''}{message}") from None


def _checked_address(address: str | None) -> str | None:
    if address is None:
        return None
    try:
        return _ADDRESS.validate_python(address)
    except ValidationError as error:
        raise ConfigurationError(f"--send-test-to: {complaints(error)[0][1]}") from None

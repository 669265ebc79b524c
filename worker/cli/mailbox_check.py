"""`sendas mailbox check`: one mailbox, from its servers' names to its domain's records."""

import asyncio
import json
import uuid
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import TypeAdapter, ValidationError

from worker.adapters.snapshot.problems import complaints
from worker.app import open_outside
from worker.cli.configured import configured
from worker.cli.inputs import read_bytes
from worker.cli.mailbox_check_report import show_report
from worker.cli.output import print_json, say
from worker.cli.snapshots import read_own_snapshot
from worker.cli.temporary_ledger import temporary_mailbox_memory
from worker.delivery.refresh_tokens import RefreshTokens
from worker.domain.addresses import EmailAddress
from worker.domain.results import MailboxChecked
from worker.domain.secret_references import PLATFORM, References
from worker.domain.snapshot import Mailbox
from worker.errors import ConfigurationError
from worker.operations.mailbox_check.check import is_good
from worker.operations.mailbox_check.subject import Subject
from worker.settings import Settings

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
    """Rotated tokens are told of at the end."""


async def _say_rotated(tokens: RefreshTokens) -> None:
    """The sign-in may have voided the mailbox's refresh token for a new one, which somebody has to store."""
    for rotation in await tokens.untold(_MOST_ROTATED):
        token = json.dumps({"sealed": rotation.sealed})
        say(f"the refresh token of {rotation.username} was replaced; put this one into the snapshot: {token}")


def _found(
    account: str | None, mailbox: str | None, snapshot: Path | None, file: Path | None, listed: frozenset[str]
) -> tuple[str, Mailbox, References]:
    """The account's id, the mailbox, and whose variables and files count as secrets.

    Raises:
        ConfigurationError: nothing names a mailbox.
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

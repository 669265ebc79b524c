"""`sendas mailbox suspended` and `sendas mailbox resume`: what is stopped and why, and ending it."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import structlog
from cyclopts import Parameter

from worker.adapters.clock import SystemClock
from worker.adapters.ledger import SqlLedger, open_ledger
from worker.addresses import ledger_of
from worker.cli.common import print_json, print_line, say, user
from worker.cli.configured import configured
from worker.cli.publishing import publishing
from worker.delivery.mailboxes.state import MailboxKey, Suspension
from worker.delivery.mailboxes.suspensions import Suspensions
from worker.delivery.results import Reporter
from worker.domain.addresses import masked
from worker.domain.failure.hints import HINTS
from worker.domain.vocabulary import ResumedBy
from worker.errors import SendasError
from worker.settings import Settings

log = structlog.get_logger(__name__)

_PUBLISHED_WITHIN_S = 10.0


def suspended(*, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> int:
    """List the mailboxes nothing is sent from, the oldest first: since when, why, and what to do.

    Parameters
    ----------
    as_json
        Print JSON alone.
    """
    suspensions = asyncio.run(_suspended(configured(is_quiet=True)))
    if as_json:
        print_json([as_document(suspension) for suspension in suspensions])
    elif not suspensions:
        say("no mailbox is suspended")
    for suspension in () if as_json else suspensions:
        print_line(as_text(suspension))
    return 0


async def _suspended(settings: Settings) -> Sequence[Suspension]:
    ledger = await open_ledger(ledger_of(settings), "sendas mailbox suspended", SystemClock())
    try:
        return await ledger.mailboxes.suspended()
    finally:
        await ledger.close()


def as_document(suspension: Suspension) -> dict[str, object]:
    """A suspension for programs."""
    hint = HINTS[suspension.reason]
    return {
        "account_id": suspension.key.account_id,
        "mailbox_id": suspension.key.mailbox_id,
        "address": masked(suspension.address) if suspension.address else None,
        "reason": suspension.reason.value,
        "suspended_at": suspension.since.isoformat(),
        "reply": {"code": suspension.code, "enhanced": suspension.enhanced, "text": suspension.words or ""}
        if suspension.code is not None
        else None,
        "detail": suspension.detail,
        "hint": {"en": hint.en, "ru": hint.ru},
        "event_id": suspension.event_id,
        "snapshot_version": suspension.revision.version,
    }


def as_text(suspension: Suspension) -> str:
    """A suspension for people, in three lines."""
    said = [str(part) for part in (suspension.code, suspension.enhanced, suspension.words) if part]
    return "\n".join(
        (
            f"{suspension.since:%Y-%m-%d %H:%M:%S}  {suspension.key.account_id}  {suspension.key.mailbox_id}"
            f"  {suspension.reason.value}",
            f"    said: {' '.join(said) or suspension.detail or 'nothing'}",
            f"    {HINTS[suspension.reason].en}",
        )
    )


def resume(
    account: str,
    mailbox: str,
    *,
    why: str | None = None,
    operator: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Let a suspended mailbox send again with the settings that it has: when its password was right after all, or
    was mended at the provider. One letter tries; when it succeeds the others follow, slowly at first.

    Parameters
    ----------
    account
        The account's id.
    mailbox
        The mailbox's id.
    why
        Why, for those who ask later; stands in the result `mailbox.resumed`.
    operator
        Who; the user of the operating system when it is left out.
    as_json
        Print JSON alone.
    """
    key = MailboxKey(account, mailbox)
    suspension = asyncio.run(_resume(configured(is_quiet=True), key, operator or user(), why))
    if as_json:
        print_json({"account_id": account, "mailbox_id": mailbox, "reason": suspension.reason.value, "resumed": True})
    else:
        print_line(f"{account} {mailbox}: resumed; it had been suspended for {suspension.reason.value}")
    return 0


async def _resume(settings: Settings, key: MailboxKey, operator: str, why: str | None) -> Suspension:
    ledger = await open_ledger(ledger_of(settings), "sendas mailbox resume", SystemClock())
    try:
        suspension = next((each for each in await ledger.mailboxes.suspended() if each.key == key), None)
        if suspension is None or not await _ended(settings, ledger, suspension, operator, why):
            raise SendasError(f"{key.account_id} {key.mailbox_id}: this mailbox is not suspended")
        return suspension
    finally:
        await ledger.close()


async def _ended(settings: Settings, ledger: SqlLedger, suspension: Suspension, operator: str, why: str | None) -> bool:
    reporter = Reporter(settings.source, settings.topology.results_exchange)
    async with publishing(settings, "sendas-mailbox-resume", _PUBLISHED_WITHIN_S) as publish:
        suspensions = Suspensions(ledger.mailboxes, reporter, publish, SystemClock())
        return await suspensions.resume(suspension, SystemClock().now(), ResumedBy.OPERATOR, operator, why)

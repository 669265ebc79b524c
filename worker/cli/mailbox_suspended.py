"""`sendas mailbox suspended`: the mailboxes nothing is sent from."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter

from worker.adapters.clock import SystemClock
from worker.adapters.ledger import open_ledger
from worker.addresses import ledger_of
from worker.cli.configured import configured
from worker.cli.output import print_json, print_line, say
from worker.delivery.mailbox_states import Suspension
from worker.domain.addresses import masked
from worker.domain.hints import HINTS
from worker.settings import Settings


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

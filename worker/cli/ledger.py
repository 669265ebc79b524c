"""`sendas ledger`: the memory of what was sent."""

import asyncio
from typing import Annotated

from cyclopts import App, Parameter

from worker.adapters.clock import SystemClock
from worker.adapters.ledger import Entry, migrate, open_ledger
from worker.app import make_state_dir
from worker.cli.configured import configured
from worker.cli.output import print_json, print_line
from worker.domain.identity import event_key
from worker.settings import Settings

group = App(name="ledger", help="The memory of what was sent.")


@group.command(name="migrate")
def migrate_() -> int:
    """Create the ledger's tables, or bring them up to date."""
    settings = configured(is_quiet=True)
    make_state_dir(settings)
    asyncio.run(migrate(settings.ledger))
    print_line("the ledger is up to date")
    return 0


@group.command
def show(event_id: str, *, source: str, as_json: Annotated[bool, Parameter(name="--json", negative="")] = False) -> int:
    """Show what is known of an event's letters, recipient by recipient.

    Parameters
    ----------
    event_id
        The event's `id`.
    source
        The event's `source`.
    as_json
        Print JSON alone.
    """
    entries = asyncio.run(_entries(configured(is_quiet=True), event_key(source, event_id)))
    if as_json:
        print_json([_as_json(entry) for entry in entries])
    else:
        for entry in entries:
            print_line("  ".join(f"{name}={value}" for name, value in _as_json(entry).items() if value is not None))
    return 0 if entries else 1


async def _entries(settings: Settings, key: str) -> list[Entry]:
    ledger = await open_ledger(settings.ledger, "sendas ledger show", SystemClock())
    try:
        return await ledger.entries(key)
    finally:
        await ledger.close()


def _as_json(entry: Entry) -> dict[str, object]:
    hand_over = entry.hand_over
    return {
        "recipient": entry.recipient,
        "account_id": entry.account_id,
        "state": "in_doubt" if entry.is_in_doubt else entry.state.value,
        "outcome": entry.outcome.value if entry.outcome else None,
        "owner": entry.owner,
        "is_owner_alive": entry.is_owner_alive,
        "claimed_at": entry.claimed_at.isoformat(),
        "handed_over_at": hand_over.at.isoformat() if hand_over else None,
        "attempt": hand_over.attempt if hand_over else None,
        "message_id": hand_over.message_id if hand_over else None,
        "mailbox_id": hand_over.mailbox_id if hand_over else None,
        "recorded_at": entry.recorded_at.isoformat() if entry.recorded_at else None,
        "result_id": entry.result_id,
    }

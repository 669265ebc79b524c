"""`sendas ledger`: inspects and migrates the delivery ledger."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from worker.adapters.clock import SystemClock
from worker.adapters.ledger import Entry, migrate, open_ledger
from worker.addresses import ledger_of
from worker.app import make_state_dir
from worker.cli.common import print_json, print_line
from worker.cli.configured import configured
from worker.domain.identity import event_key
from worker.errors import ConfigurationError
from worker.settings import Settings

group = App(name="ledger", help="The memory of what was sent.")

AsJson = Annotated[bool, Parameter(name="--json", negative="")]

_AT_ONCE = 200
_NOT_BEGUN = "waiting"
_SETTLED = {"sent", "failed"}


@group.command(name="migrate")
def migrate_() -> int:
    """Create the ledger's tables, or bring them up to date."""
    settings = configured(is_quiet=True)
    make_state_dir(settings)
    asyncio.run(migrate(ledger_of(settings)))
    print_line("the ledger is up to date")
    return 0


@group.command
def show(event_id: str, *, source: str, as_json: AsJson = False) -> int:
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


@group.command
def outcomes(file: Annotated[str, Parameter(allow_leading_hyphen=True)], *, as_json: AsJson = False) -> int:
    """Count what became of the letters of many events, recipient by recipient.

    So an operator sees what became of a replay: keep what `dead-letters list --json` prints before it, and ask with
    that file after it. Exit status 1: some are not sent or failed yet.

    Parameters
    ----------
    file
        JSON lines with `event_id` and `event_source`; - is standard input.
    as_json
        Print JSON alone.
    """
    counts = asyncio.run(_outcomes(configured(is_quiet=True), list(_keys(file))))
    if as_json:
        print_json(dict(counts.most_common()))
    else:
        for name, count in counts.most_common():
            print_line(f"{count:>9}  {name}")
    return 0 if counts and counts.keys() <= _SETTLED else 1


def _keys(file: str) -> Iterator[str]:
    """Keys of the events named in a file, without duplicates."""
    try:
        with nullcontext(sys.stdin) if file == "-" else Path(file).open(encoding="utf-8") as lines:
            named = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None
    seen = set()
    for number, line in named:
        key = _key(file, number, line)
        if key not in seen:
            seen.add(key)
            yield key


def _key(file: str, number: int, line: str) -> str:
    try:
        document = json.loads(line)
        event_id, source = document["event_id"], document["event_source"]
    except (ValueError, RecursionError, KeyError, TypeError):
        event_id = source = None
    if not isinstance(event_id, str) or not isinstance(source, str):
        raise ConfigurationError(f"{file}: line {number}: expected an object with event_id and event_source")
    return event_key(source, event_id)


async def _outcomes(settings: Settings, keys: list[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    ledger = await open_ledger(ledger_of(settings), "sendas ledger outcomes", SystemClock())
    try:
        for first in range(0, len(keys), _AT_ONCE):
            for entries in await asyncio.gather(*map(ledger.entries, keys[first : first + _AT_ONCE])):
                counts.update(_standing(entry) for entry in entries)
                counts[_NOT_BEGUN] += not entries
    finally:
        await ledger.close()
    return +counts


def _standing(entry: Entry) -> str:
    """The progress of one recipient's letter, in a word."""
    if entry.outcome is not None:
        return entry.outcome.value
    return "in_doubt" if entry.is_in_doubt else "in_work"


async def _entries(settings: Settings, key: str) -> list[Entry]:
    ledger = await open_ledger(ledger_of(settings), "sendas ledger show", SystemClock())
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

"""`sendas explain`: which mailbox would send a letter, and why; sends nothing and opens no secret."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from worker.cli.common import print_json, print_line, read_event
from worker.cli.snapshots import read_snapshot
from worker.domain.events.models import CommentCreated, LetterData, TaskCreated
from worker.domain.failure.hints import HINTS
from worker.domain.results.models import explanation_json
from worker.domain.snapshot.resolution import Resolution, resolve
from worker.errors import ConfigurationError


def explain(
    *,
    event: Path,
    snapshot: Path | None = None,
    at: datetime | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Say which mailbox an event's letters would leave from, and why.

    Parameters
    ----------
    event
        An event in structured CloudEvents JSON.
    snapshot
        A configuration snapshot (JSON); the one that SENDAS_SNAPSHOT_URL names when it is left out.
    at
        The moment to decide for, as a trial may end; now when it is left out.
    as_json
        Print JSON alone.
    """
    data = read_event(event)[0].data
    if not isinstance(data, CommentCreated | TaskCreated):
        raise ConfigurationError(f"{event}: the event asks for no letter")
    moment = at or datetime.now(UTC)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    directory, _ = read_snapshot(snapshot)
    resolution = resolve(directory.account(data.account_id), data, moment)
    if as_json:
        print_json(_as_json(resolution))
    else:
        _print_readable(resolution, data)
    return 0


def _as_json(resolution: Resolution) -> dict[str, object]:
    sender = resolution.sender
    return {
        "mailbox_id": sender.mailbox.id if sender and sender.mailbox else None,
        "address": sender.address if sender else None,
        "tier": resolution.tier.value,
        "reason": resolution.reason.value if resolution.reason else None,
        "explanation": explanation_json(resolution.explanation),
    }


def _print_readable(resolution: Resolution, data: LetterData) -> None:
    if resolution.sender is not None:
        print_line(f"from {resolution.sender.address}  ({resolution.tier.value})")
    elif resolution.reason is not None:
        print_line(f"no sender: {resolution.reason.value}")
        print_line(f"  {HINTS[resolution.reason].en}")
    if not resolution.explanation:
        print_line(f"  the snapshot has no account {data.account_id} with the employee {data.author.employee_id}")
    for seen in resolution.explanation:
        print_line(
            f"  {seen.tier.value:<17} {seen.mailbox_id or '(internal)':<24} {seen.verdict.value}: {seen.why.value}"
        )

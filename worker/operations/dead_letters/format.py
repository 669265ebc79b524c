"""Formats dead letters for people and for programs. Addresses are masked except where a letter is shown in full."""

import base64
import json
from collections import Counter
from datetime import datetime

from worker.domain.addresses import masked
from worker.domain.events.strict_json import read_any_json
from worker.operations.dead_letters.export import plain
from worker.operations.dead_letters.filter import FacetCounts
from worker.operations.dead_letters.letter import DeadLetter
from worker.operations.dead_letters.queue import DeadMessage
from worker.operations.dead_letters.terminal import hexdump, printable, printable_line

_SHOWN_ADDRESSES = 3
_SHOWN_DIGEST = 12


def row(letter: DeadLetter) -> str:
    """One line: position, digest, time, reason, type, account, event id, waiting recipients (first masked), detail."""
    columns = (
        f"{letter.position:>5}",
        letter.digest[:_SHOWN_DIGEST],
        letter.dead_at.strftime("%Y-%m-%d %H:%M:%SZ") if letter.dead_at else "unknown time",
        f"{letter.reason:<18}",
        f"{letter.event_type or '?':<16}",
        letter.account_id or "?",
        letter.event_id or "?",
        f"{letter.recipients} to {_first_masked(letter)}",
        letter.detail,
    )
    return printable_line("  ".join(columns).rstrip())


def row_document(letter: DeadLetter) -> dict[str, object]:
    """The same as a JSON object, with a few more fields."""
    return {
        "position": letter.position,
        "digest": letter.digest,
        "dead_at": _iso(letter.dead_at),
        "reason": letter.reason,
        "detail": letter.detail,
        "queue": letter.queue,
        "event_id": letter.event_id,
        "event_source": letter.event_source,
        "event_type": letter.event_type,
        "account_id": letter.account_id,
        "mailbox_id": letter.mailbox_id,
        "task_id": letter.task_id,
        "recipients": letter.recipients,
        "addresses": [masked(address) for address in letter.addresses[:_SHOWN_ADDRESSES]],
        "attempts": letter.attempts,
        "first_seen": _iso(letter.first_seen),
        "replays": letter.replays,
        "replay_id": letter.replay_id,
        "size_bytes": letter.size_bytes,
    }


def whole_document(message: DeadMessage, letter: DeadLetter) -> dict[str, object]:
    """Everything in the letter, with full addresses; the body as text if it is UTF-8, else in base64."""
    try:
        body: dict[str, object] = {"body": message.body.decode("utf-8")}
    except UnicodeDecodeError:
        body = {"body_base64": base64.b64encode(message.body).decode()}
    return {
        **row_document(letter),
        "addresses": list(letter.addresses),
        "properties": plain(message.properties),
        "headers": plain(message.headers),
        **body,
    }


def whole_text(message: DeadMessage, letter: DeadLetter) -> str:
    """Everything in the letter, for a person; a body that is not text is shown as a hexadecimal prefix."""
    document = whole_document(message, letter)
    document.pop("body", None)
    document.pop("body_base64", None)
    lines = []
    for name, value in document.items():
        if isinstance(value, dict):
            lines += [f"{name}:", *(f"  {printable_line(key)}: {_as_text(each)}" for key, each in value.items())]
        else:
            lines.append(f"{name}: {_as_text(value)}")
    # Indented, so that a body cannot imitate the next letter.
    return "\n".join([*lines, "body:", *(f"  {line}" for line in _body_text(message.body).split("\n"))])


def _body_text(body: bytes) -> str:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return hexdump(body)
    try:
        return printable(json.dumps(read_any_json(text), ensure_ascii=False, indent=2))
    except ValueError:
        return printable(text)


def _as_text(value: object) -> str:
    return printable_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def census_document(census: FacetCounts) -> dict[str, object]:
    """Counts as a JSON object, each list from most to least frequent."""
    return {
        "total": census.total,
        "oldest": _iso(census.oldest),
        "newest": _iso(census.newest),
        **{f"by_{name}": dict(counter.most_common()) for name, counter in census.counts.items()},
    }


def census_text(census: FacetCounts, longest: int = 20) -> str:
    """Counts for a person, by reason first."""
    lines = [f"{census.total} dead letters{census.times()}"]
    for name, counter in census.counts.items():
        if counter:
            lines += ["", f"by {name.replace('_', ' ')}:", *_counts(counter, longest)]
    return "\n".join(lines)


def _counts(counter: Counter[str], longest: int) -> list[str]:
    lines = [f"{count:>9}  {printable_line(name)}" for name, count in counter.most_common(longest)]
    left = len(counter) - longest
    return [*lines, f"           and {left} others"] if left > 0 else lines


def _first_masked(letter: DeadLetter) -> str:
    return masked(letter.addresses[0]) if letter.addresses else "?"


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None

"""Formats the history for a terminal: a result as a few lines, a story as a timeline. Its texts are foreign."""

from collections.abc import Iterator, Mapping, Sequence

from worker.history.model import Record
from worker.operations.dead_letters.reading import member, moment, text
from worker.operations.dead_letters.terminal import printable_line

_SHOWN_RECIPIENTS = 5
_INDENT = "    "


def as_document(record: Record) -> dict[str, object]:
    """A record for programs."""
    return {
        "id": record.id,
        "type": record.type,
        "time": record.at.isoformat(),
        "account_id": record.account_id,
        "event_id": record.event_id,
        "event_type": record.event_type,
        "task_id": record.task_id,
        "comment_id": record.comment_id,
        "mailbox_id": record.mailbox_id,
        "message_id": record.message_id,
        "addresses": list(record.addresses),
        "reason": record.reason,
        "data": record.body,
    }


def timeline(story: Sequence[Record]) -> Iterator[str]:
    """The lines of an event's story: its subject, then each result with its consequences."""
    first = story[0]
    about = {"event": first.event_id, "type": first.event_type, "account": first.account_id, "task": first.task_id}
    about["comment"] = first.comment_id
    yield printable_line("  ".join(f"{name} {value}" for name, value in about.items() if value))
    for record in story:
        yield ""
        yield printable_line(_heading(record))
        yield from (_INDENT + printable_line(line) for line in _details(record.body))


def row(record: Record) -> str:
    """One line for a list of results."""
    columns = (
        f"{record.at:%Y-%m-%d %H:%M:%S}Z",
        f"{record.type:<21}",
        record.account_id or "-",
        record.event_id or "-",
        record.mailbox_id or "-",
        record.reason or "-",
        _few(record.addresses),
    )
    return printable_line("  ".join(columns).rstrip())


def _heading(record: Record) -> str:
    attempt = record.body.get("attempt")
    parts = [f"{record.at:%Y-%m-%d %H:%M:%S}Z", record.type]
    if isinstance(attempt, int) and attempt > 0:
        parts.append(f"attempt {attempt}")
    return "  ".join([*parts, *([record.reason] if record.reason else [])])


def _details(body: Mapping[str, object]) -> Iterator[str]:
    """What people ask about, as far as this result contains it."""
    if mailbox := text(body.get("mailbox_id")):
        yield f"mailbox {mailbox}" + (f" ({address})" if (address := text(body.get("address"))) else "")
    yield from _sender(body.get("sender"))
    yield from _recipients(body.get("recipients"))
    if reply := _reply(body.get("reply")):
        yield f"the server said: {reply}"
    for name in ("message_id", "provider_message_id", "outcome", "folder", "uid", "detail", "operator", "why", "count"):
        value = body.get(name)
        shown = str(value) if isinstance(value, int) else text(value)
        if shown:
            yield f"{name.replace('_', ' ')}: {shown}"
    if following := moment(body.get("next_attempt_at")) if body.get("next_attempt_at") else None:
        yield f"next attempt: {following:%Y-%m-%d %H:%M:%S}Z"
    if policy := text(body.get("resolution_policy")):
        yield f"what follows: {policy}"
    yield from _steps(body.get("steps"))
    if hint := text(member(body.get("hint"), "en")):
        yield f"hint: {hint}"
    left_out = body.get("left_out")
    if isinstance(left_out, list):
        yield f"left out, as it was too long: {', '.join(filter(None, map(text, left_out)))}"


def _sender(sender: object) -> Iterator[str]:
    if isinstance(sender, dict):
        mailbox = text(sender.get("mailbox_id"))
        where = f"mailbox {mailbox}" if mailbox else "the platform's relay"
        yield f"from {text(sender.get('address')) or 'no sender'} ({where}, tier {text(sender.get('tier')) or '?'})"
        considered = sender.get("explanation")
        for seen in considered if isinstance(considered, list) else ():
            tier, verdict, why = (text(member(seen, name)) or "?" for name in ("tier", "verdict", "why"))
            yield f"  {tier:<17} {text(member(seen, 'mailbox_id')) or 'internal':<20} {verdict} ({why})"


def _recipients(recipients: object) -> Iterator[str]:
    listed = recipients if isinstance(recipients, list) else []
    for recipient in listed[:_SHOWN_RECIPIENTS]:
        reply = _reply(member(recipient, "reply"))
        outcome = text(member(recipient, "outcome")) or "?"
        yield f"to {text(member(recipient, 'address')) or '?'}: {outcome}" + (f": {reply}" if reply else "")
    if len(listed) > _SHOWN_RECIPIENTS:
        yield f"and to {len(listed) - _SHOWN_RECIPIENTS} others; --json has all"


def _reply(reply: object) -> str:
    code = member(reply, "code")
    parts = (str(code) if isinstance(code, int) else None, text(member(reply, "enhanced")), text(member(reply, "text")))
    return " ".join(part for part in parts if part)


def _steps(steps: object) -> Iterator[str]:
    for step in steps if isinstance(steps, list) else ():
        ok = {True: "ok", False: "failed"}.get(bool(member(step, "ok")), "?") if member(step, "ok") is not None else "-"
        yield f"  {text(member(step, 'name')) or '?':<14} {ok:<7} {_reply(member(step, 'reply'))}".rstrip()


def _few(addresses: Sequence[str]) -> str:
    if not addresses:
        return ""
    return addresses[0] if len(addresses) == 1 else f"{addresses[0]} and {len(addresses) - 1} more"

"""One line for each result, of whatever type: what it is about, and what came of it."""

from collections.abc import Iterator

from demo.scenes import Json
from worker.operations.dead_letters.terminal import printable_line

_TYPE_WIDTH = 21


def result_line(result: Json) -> str:
    """The type, what the result is about, and what it says; without what a terminal would obey."""
    data = result["data"]
    return printable_line(" ".join((f"{result['type']:{_TYPE_WIDTH}}", _subject(data), *_words(data))).rstrip())


def _subject(data: Json) -> str:
    """The event, the mailbox, or whoever did it; the account where there is none of them."""
    names = [str(data[name]) for name in ("event_id", "mailbox_id", "operator") if data.get(name)]
    return " ".join(names) or data.get("account_id") or ""


def _words(data: Json) -> Iterator[str]:
    for recipient in data.get("recipients") or ():
        yield recipient["address"]
    for name in ("outcome", "folder", "reason", "next_attempt_at", "count", "why"):
        if data.get(name) is not None:
            yield f"{name}={data[name]}"
    if "ok" in data:
        yield "ok" if data["ok"] else "not ok:"
    yield from (_step(step) for step in data.get("steps") or () if step["ok"] is False)
    if data.get("resumed_by"):
        yield f"resumed_by={data['resumed_by']}"


def _step(step: Json) -> str:
    return f"{step['name']} ({step['reason']})" if step.get("reason") else str(step["name"])

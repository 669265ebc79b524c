"""What came out, as text files with placeholders for what differs from run to run."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from stack.scripted_smtp import AcceptedLetter, ScriptedSmtpServer
from tests.e2e.broker import RESULTS, Message
from tests.e2e.servers import Servers

Json = Any

_WIDTH = 118
_DIALOGUE = ("MAIL", "RCPT", "DATA", ".", "AUTH")
# Their ids hold a time, or the mailbox's settings with its ports; those of all others are the same in every run.
_VOLATILE_IDS = ("mailbox.", "mail.uncertain", "sent_copy.deferred", "dead_letter.")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*")
_DAYS = re.compile(r"\b\d+ days")  # until a certificate ends
_HEADERS_SHOWN = ("sendas-attempt", "sendas-recipients", "sendas-last-reason", "sendas-last-reply", "sendas-dead-")


def rendered(
    servers: Servers, messages: Sequence[Message], relayed: Sequence[AcceptedLetter], published: Mapping[bytes, str]
) -> dict[str, str]:
    """The files that `expected/` should hold, by name; empty ones are left out."""
    letters = sorted([*servers.smtp.letters, *relayed], key=_letter_key)
    wires = {letter.wire: f"letter-{number}.txt" for number, letter in enumerate(letters, 1)}
    bodies = {**published, **wires}
    results = [message for message in messages if message.queue == RESULTS]
    delayed = [message for message in messages if message.is_delayed]
    other = [message for message in messages if message.queue != RESULTS and not message.is_delayed]
    files = {
        "results.json": _documents(_results(results)),
        "delayed.json": _documents([_waiting(message, bodies) for message in delayed]),
        "queues.json": _documents([_waiting(message, bodies) for message in other]),
        "smtp.txt": _transactions(servers.smtp),
        **_sent(servers, wires),
        **{wires[letter.wire]: _letter(letter, is_relayed=letter in relayed) for letter in letters},
    }
    return {name: servers.written(text) for name, text in files.items() if text}


def _letter_key(letter: AcceptedLetter) -> tuple[Any, ...]:
    return (letter.recipients, letter.wire)


def _letter(letter: AcceptedLetter, *, is_relayed: bool) -> str:
    """A letter below its envelope."""
    lines = [
        f"from {letter.sender or '<>'}",
        *(f"to {recipient}" for recipient in letter.recipients),
        "at the platform's relay" if is_relayed else f"at the mailbox's server, signed in as {letter.username}",
        "over TLS" if letter.is_tls else "not over TLS",
        "-" * 60,
    ]
    return "\n".join([*lines, _lines(letter.wire)])


def _lines(letter: bytes) -> str:
    """A letter's lines. Ends of lines other than CRLF are shown as `\\r` and `\\n`."""
    lines = letter.decode("utf-8", "backslashreplace").split("\r\n")
    return "\n".join(line.replace("\r", "\\r").replace("\n", "\\n") for line in lines)


def _transactions(smtp: ScriptedSmtpServer) -> str:
    """The commands of each transaction, and of connections that ended after the sign-in.

    How many transactions share a connection is up to the worker, so connections do not show.
    """
    found: list[list[str]] = []
    for connection in range(1, smtp.connections + 1):
        lines = [each.line for each in smtp.commands if each.connection == connection and each.verb in _DIALOGUE]
        starts = [number for number, line in enumerate(lines) if line.startswith("MAIL")]
        ends = [*starts[1:], len(lines)]
        found += [lines[start:end] for start, end in zip(starts, ends, strict=False)] if starts else [lines]
    return "\n\n".join(sorted("\n".join(lines) for lines in found if lines)) + ("\n" if any(found) else "")


def _sent(servers: Servers, wires: Mapping[bytes, str]) -> dict[str, str]:
    """The folders' letters: by the name of the letter that was sent, or in a file of their own where they differ."""
    lines: list[str] = []
    files: dict[str, str] = {}
    for folder in servers.imap.folders.values():
        for letter in sorted(folder.letters, key=lambda letter: wires.get(letter, "~")):
            if letter not in wires:
                files[f"copy-{len(files) + 1}.txt"] = _lines(letter)
            lines.append(f"{folder.name.decode()}: {wires.get(letter) or f'copy-{len(files)}.txt'}\n")
    return {"sent.txt": "".join(lines), **files}


def _results(messages: Sequence[Message]) -> list[Json]:
    """Results in an order that does not depend on timing; ids that differ from run to run are numbered."""
    results = sorted((_result(message) for message in messages), key=_result_key)
    volatile = [result["id"] for result in results if result["type"].startswith(_VOLATILE_IDS)]
    numbers = {id_: f"<id {number}>" for number, id_ in enumerate(dict.fromkeys(volatile), 1)}
    return [{**result, "id": numbers.get(result["id"], result["id"])} for result in results]


def _result_key(result: Json) -> tuple[Any, ...]:
    data = result.get("data", {})
    is_fixed = not result["type"].startswith(_VOLATILE_IDS)
    rest = json.dumps({**result, "id": result["id"] if is_fixed else ""}, sort_keys=True)
    return (str(data.get("event_id", "~")), data.get("attempt", 0), result["type"], rest)


def _result(message: Message) -> Json:
    result = json.loads(message.message.body)
    if difference := _difference(message, result):
        result["THE AMQP MESSAGE DIFFERS"] = difference
    return _placeheld(result, result["time"])


def _difference(message: Message, result: Json) -> list[str]:
    """Headers and properties that disagree with the body."""
    headers, amqp = message.message.headers, message.message
    names = ("id", "source", "type", "specversion", "subject", "traceparent")
    different = [f"ce-{name}" for name in names if headers.get(f"ce-{name}") != result.get(name)]
    if amqp.type != result["type"] or amqp.routing_key != result["type"]:
        different.append("type")
    if amqp.content_type != "application/cloudevents+json":
        different.append("content_type")
    if not amqp.message_id or not amqp.timestamp:
        different.append("message_id, timestamp")
    return different


def _placeheld(value: Json, now: str, name: str = "") -> Json:
    # Which timings there are depends on whether a connection was open already.
    if name == "seconds" or (name == "timings" and value):
        return "<seconds>"
    if isinstance(value, dict):
        known = {key: _placeheld(each, now, key) for key, each in value.items() if each is not None}
        return {**known, **_null(value)}
    if isinstance(value, list):
        return [_placeheld(each, now) for each in value]
    if name == "next_attempt_at":
        wait_s = (datetime.fromisoformat(value) - datetime.fromisoformat(now)).total_seconds()
        return f"<time> + {round(wait_s)} s"
    if name == "snapshot_version":
        return "<version>"
    if _is_time(value):
        return "<time>"
    return _DAYS.sub("<days> days", value) if isinstance(value, str) else value


def _is_time(value: Json) -> bool:
    return isinstance(value, str) and _TIME.fullmatch(value) is not None


def _null(value: Json) -> dict[str, str]:
    """The names of null fields, as one field."""
    names = [key for key, each in value.items() if each is None]
    return {"null": " ".join(names)} if names else {}


def _waiting(message: Message, bodies: Mapping[bytes, str]) -> Json:
    shown = {name: value for name, value in sorted(message.message.headers.items()) if name.startswith(_HEADERS_SHOWN)}
    texts = {name: value.decode() if isinstance(value, bytes) else value for name, value in shown.items()}
    headers = {name: "<time>" if _is_time(value) else value for name, value in texts.items()}
    body = bodies.get(message.message.body)
    return {"queue": message.queue, **headers, "body": body or message.message.body.decode("utf-8", "replace")}


def _documents(documents: Sequence[Json]) -> str:
    """JSON for people: an object that fits goes on one line."""
    return "\n".join(_pretty(document) + "\n" for document in documents)


def _pretty(value: Json, indent: int = 0) -> str:
    line = json.dumps(value, ensure_ascii=False)
    if not value or not isinstance(value, dict | list) or (indent and len(line) + indent <= _WIDTH):
        return line
    pad = " " * (indent + 1)
    if isinstance(value, dict):
        parts = [f"{pad}{json.dumps(key)}: {_pretty(each, indent + 1)}" for key, each in value.items()]
        return "{\n" + ",\n".join(parts) + "\n" + " " * indent + "}"
    return "[\n" + ",\n".join(pad + _pretty(each, indent + 1) for each in value) + "\n" + " " * indent + "]"

"""Mail readers of others, each asked what it finds in a letter."""

import base64
import json
import subprocess
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from tools.npm import NODE, install

HERE = Path(__file__).parent
NODE_DIRECTORY = HERE / "node"


@dataclass(frozen=True)
class FoundFile:
    """An attached file or an inline picture."""

    name: str | None
    type: str
    content: bytes
    content_id: str | None
    is_inline: bool


@dataclass(frozen=True)
class Found:
    """What a reader found in a letter; names are paired with addresses."""

    subject: str
    sender: list[tuple[str, str]]
    to: list[tuple[str, str]]
    message_id: str
    html: str
    text: str
    files: list[FoundFile]


def read_by_all(raw: bytes) -> dict[str, Found]:
    """The letter as each reader understands it, by the reader's name."""
    install(NODE_DIRECTORY)
    by_node = json.loads(_run([str(NODE), str(NODE_DIRECTORY / "read.mjs")], raw))
    by_perl = json.loads(_run(["perl", str(HERE / "email_mime.pl")], raw))
    found = {name: _found(answer) for name, answer in by_node.items()}
    return {**found, "Perl's Email::MIME": _found(by_perl), "Python's email": _by_python(raw)}


def _run(command: list[str], raw: bytes) -> bytes:
    return subprocess.run(command, input=raw, check=True, stdout=subprocess.PIPE, timeout=60).stdout


def _found(answer: dict[str, Any]) -> Found:
    files = [
        FoundFile(each["name"], each["type"], base64.b64decode(each["base64"]), each["content_id"], each["is_inline"])
        for each in answer["files"]
    ]
    people = {field: [(name, address) for name, address in answer[field]] for field in ("from", "to")}
    return Found(
        answer["subject"], people["from"], people["to"], answer["message_id"], answer["html"], answer["text"], files
    )


def _by_python(raw: bytes) -> Found:
    message = message_from_bytes(raw, policy=policy.default)
    files = []
    for part in message.walk():
        if not part.is_multipart() and part.get_content_disposition() is not None:
            content_id = str(part["Content-ID"]).strip("<>") if part["Content-ID"] else None
            is_inline = part.get_content_disposition() == "inline"
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            files.append(FoundFile(part.get_filename(), part.get_content_type(), content, content_id, is_inline))
    return Found(
        str(message["Subject"]),
        _people(message, "From"),
        _people(message, "To"),
        str(message["Message-ID"]),
        _text(message, "html"),
        _text(message, "plain"),
        files,
    )


def _people(message: EmailMessage, name: str) -> list[tuple[str, str]]:
    return [(person.display_name, person.addr_spec) for person in message[name].addresses]


def _text(message: EmailMessage, subtype: str) -> str:
    body = message.get_body((subtype,))
    return "" if body is None else str(body.get_content())

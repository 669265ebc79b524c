"""`sendas deliver --print` shows the letters of an event, with no server anywhere."""

import json
import socket
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from worker.cli import status

ROOT = Path(__file__).parents[2]
SNAPSHOT = ROOT / "deploy/compose/snapshot.json"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("nothing may be connected to")

    monkeypatch.setattr(socket.socket, "connect", refused)


def an_event(directory: Path, name: str = "comment", **changes: Any) -> Path:
    event = json.loads((ROOT / f"demo/events/{name}.json").read_text("utf-8"))
    path = directory / "event.json"
    path.write_text(json.dumps(event | {"data": event["data"] | changes}), "utf-8")
    return path


def shown(event: Path) -> int:
    return status(["deliver", "--snapshot", str(SNAPSHOT), "--event", str(event), "--print"])


def test_a_letter_is_shown_as_it_would_leave(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """If somebody tries the example, then they see the letter itself, and on the other stream its envelope."""
    assert shown(an_event(tmp_path)) == 0
    printed = capsysbinary.readouterr()
    letter = message_from_bytes(printed.out, policy=policy.default)
    assert "ivan@acme.example" in str(letter["From"])
    assert letter["Subject"] == "Re: Repair of the air conditioner"
    assert printed.out.endswith(b"\r\n")
    assert printed.err == b"from ivan@acme.example by mail.acme.example:587 to anna@customer.example\n"


def test_each_recipient_s_letter_is_shown(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """If an event becomes two letters, then both are shown, the same as are sent."""
    assert shown(an_event(tmp_path, "task")) == 0
    printed = capsysbinary.readouterr()
    assert printed.out.count(b"Subject: New windows") == printed.err.count(b"from support@acme.example") == 2


def test_no_sender_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If no mailbox would send it, then the reason is said, and nothing is printed."""
    assert shown(an_event(tmp_path, author={"employee_id": "nobody"})) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("no letter would leave: sender_unavailable: ")


def test_a_file_that_cannot_be_had_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If the event has a file, then it is part of the letter: without it there is none."""
    file = {
        "name": "plan.pdf", "content_type": "application/pdf", "size": 9, "url": "http://127.0.0.1/plan.pdf",
        "link": "https://product.example/plan.pdf",
    }  # fmt: skip
    assert shown(an_event(tmp_path, files=[file])) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("the letter cannot be made: ")


def test_an_event_without_letters_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    event = json.loads((ROOT / "tests/golden/events/configuration_changed.json").read_text("utf-8"))["body"]
    path = tmp_path / "event.json"
    path.write_text(json.dumps(event), "utf-8")
    assert shown(path) == 2
    assert capsys.readouterr().err == f"sendas: {path}: the event asks for no letter\n"

"""`sendas history show` and `search`: what people read, and that nothing foreign reaches their terminal as it is."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from worker.adapters.addresses.ledger import ledger_address
from worker.adapters.history import open_history_writer
from worker.cli import status
from worker.cli.history_output import as_document, row, timeline
from worker.domain.vocabulary import ResultType
from worker.history.addresses import AddressPolicy
from worker.history.model import Record
from worker.history.reading import read_result
from worker.operations.contract_examples import result_example
from worker.operations.dead_letters.terminal import json_text

NOW = datetime.now(UTC)
EVIL = "\x1b[2J\u202e<script>\r\nmail.sent"


def a_record(result_type: ResultType, **changes: Any) -> Record:
    document = json.loads(result_example(result_type).to_json())
    document["data"] |= changes
    record = read_result(json.dumps(document).encode(), AddressPolicy(), NOW + timedelta(days=36_500))
    return replace(record, at=NOW)


async def keep(directory: Path, *records: Record) -> None:
    writer = await open_history_writer(ledger_address(f"sqlite:///{directory / 'history.db'}"))
    await writer.add(records)
    await writer.close()


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SENDAS_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("SENDAS_HISTORY", "whole")
    return tmp_path


def test_a_story_is_told_from_its_beginning(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If somebody asks for an event, then each result is there with who, why, the server's words and what follows."""
    deferred = a_record(ResultType.MAIL_DEFERRED, event_id="evt-1")
    sent = replace(a_record(ResultType.MAIL_SENT, event_id="evt-1"), at=NOW + timedelta(minutes=5))
    other = replace(sent, id="other", event_id="evt-2")
    asyncio.run(keep(directory, sent, other, deferred))
    assert status(["history", "show", "evt-1"]) == 0
    shown = capsys.readouterr().out
    assert shown.index("mail.deferred") < shown.index("mail.sent")
    assert shown.startswith("event evt-1  type comment.created  account ")
    body: Any = deferred.body
    assert str(deferred.reason) in shown
    assert "next attempt: " in shown
    assert body["hint"]["en"] in shown
    assert body["recipients"][0]["address"] in shown
    assert body["sender"]["address"] in shown
    assert "rejected (" in shown or "selected (" in shown
    assert status(["history", "show", "evt-1", "--json"]) == 0
    assert [each["id"] for each in json.loads(capsys.readouterr().out)] == [deferred.id, sent.id]


def test_what_is_not_there_is_an_answer(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(keep(directory))
    assert status(["history", "show", "evt-1"]) == 1
    assert status(["history", "show", "evt-1", "--json"]) == 1
    assert status(["history", "search", "--task", "7"]) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out) == []
    assert "nothing about this event" in shown.err


def test_a_search_says_how_to_go_on(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If there are more than a page, then what is printed at its end is the next page's beginning."""
    records = [replace(a_record(ResultType.MAIL_SENT), id=f"id-{number}") for number in range(5)]
    asyncio.run(keep(directory, *records))
    seen: list[str] = []
    cursor: list[str] = []
    while True:
        assert status(["history", "search", "--type", "mail.sent", "--limit", "2", "--json", *cursor]) == 0
        page = json.loads(capsys.readouterr().out)
        seen += [each["id"] for each in page["results"]]
        if page["next"] is None:
            break
        cursor = ["--before", page["next"]]
    assert sorted(seen) == [record.id for record in records]
    assert status(["history", "search", "--limit", "2"]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 2
    assert shown.err.startswith("there are more: --before ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--limit", "0"], "limit: not from 1 to 500"),
        (["--limit", "9999"], "limit: not from 1 to 500"),
        (["--since", "yesterday"], "--since: expected a time"),
        (["--until", "1'; DROP TABLE history_results"], "--until: expected a time"),
        (["--before", "1'--"], "before: not the cursor of a page"),
    ],
)
def test_a_wrong_search_is_one_line(
    directory: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    asyncio.run(keep(directory))
    assert status(["history", "search", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"sendas: {complaint}")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"SENDAS_HISTORY": "off"}, "SENDAS_HISTORY: it is off"),
        ({"SENDAS_HISTORY": "digest"}, "SENDAS_HISTORY_KEY: missing"),
        ({"SENDAS_HISTORY_URL": "sqlite:///:memory:"}, "SENDAS_HISTORY_URL: expected sqlite:///PATH"),
        ({"SENDAS_HISTORY_URL": "postgresql://u:canary7@h/d?sslmodus=x"}, "SENDAS_HISTORY_URL: the parameter sslmodus"),
        ({}, "SENDAS_HISTORY_URL: "),
    ],
    ids=["off", "key", "memory", "parameter", "nothing"],
)
def test_a_history_that_cannot_be_read_says_which_setting(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, str],
    complaint: str,
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert status(["history", "search"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"sendas: {complaint}")
    assert "canary7" not in shown


@pytest.mark.parametrize("result_type", ResultType)
def test_every_result_can_be_shown(result_type: ResultType) -> None:
    record = a_record(result_type)
    assert str(result_type) in "\n".join(timeline([record]))
    assert str(result_type) in row(record)
    json.dumps(as_document(record))


@pytest.mark.parametrize("value", [None, 7, "x", [], {}, [None], [{"a": 1}], {"code": "x"}, True, EVIL])
def test_whatever_a_result_holds_can_be_shown_and_commands_no_terminal(value: object) -> None:
    """If members have other shapes, or words what a terminal would obey, then lines of text are shown all the same."""
    names = (
        "sender", "recipients", "reply", "hint", "steps", "left_out", "detail", "folder", "uid", "attempt",
        "next_attempt_at", "resolution_policy", "operator",
    )  # fmt: skip
    nested = {"address": value, "reply": {"code": value, "text": value}, "explanation": [value], "en": value}
    for body in (dict.fromkeys(names, value), dict.fromkeys(names, nested), {name: [nested] for name in names}):
        record = Record(EVIL, EVIL, NOW, account_id=EVIL, event_id=EVIL, addresses=(EVIL,), reason=EVIL, body=body)
        for line in (*timeline([record]), row(record), *json_text(as_document(record)).split("\n")):
            assert line.isprintable()
        assert json.loads(json_text(as_document(record)))["data"] == body

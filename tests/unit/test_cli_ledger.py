"""`sendas ledger outcomes`: what became of the letters of many events."""

import asyncio
import json
from pathlib import Path

import pytest

from worker.adapters.clock import SystemClock
from worker.adapters.ledger import open_ledger
from worker.cli import status
from worker.delivery.ledger import HandOver, Record
from worker.domain.identity import event_key, result_id
from worker.domain.vocabulary import Outcome

SOURCE = "/product/comments"


async def remember(directory: Path) -> None:
    """evt-1 is sent to one and failed for another, evt-2 is uncertain, evt-3 was handed over by a worker that died."""
    clock = SystemClock()
    ledger = await open_ledger(f"sqlite:///{directory / 'ledger.db'}", "worker", clock)
    for number, outcomes in ((1, (Outcome.SENT, Outcome.FAILED)), (2, (Outcome.UNCERTAIN,)), (3, ())):
        key = event_key(SOURCE, f"evt-{number}")
        positions = range(max(len(outcomes), 1))
        await ledger.claim(key, "acme", positions)
        await ledger.hand_over(key, positions, HandOver("acme", None, "<1@acme.example>", 1, clock.now()))
        records = [
            Record((position,), outcome, result_id(key, (position,), outcome), b"{}")
            for position, outcome in enumerate(outcomes)
        ]
        await ledger.record(key, records)
    await ledger.close()


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SENDAS_STATE_DIR", str(tmp_path))
    asyncio.run(remember(tmp_path))
    return tmp_path


def listed(directory: Path, *numbers: int) -> str:
    """What `dead-letters list --json` printed of these events."""
    file = directory / "listed.jsonl"
    lines = [json.dumps({"event_id": f"evt-{number}", "event_source": SOURCE, "recipients": 1}) for number in numbers]
    file.write_text("\n".join([*lines, ""]))
    return str(file)


def test_an_operator_sees_what_became_of_a_replay(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An event that is listed twice counts once, and one that no worker has begun still waits."""
    exit_status = status(["ledger", "outcomes", listed(directory, 1, 2, 2, 3, 4), "--json"])
    assert json.loads(capsys.readouterr().out) == {"sent": 1, "failed": 1, "uncertain": 1, "in_doubt": 1, "waiting": 1}
    assert exit_status == 1


def test_when_all_have_come_to_their_end_the_status_says_so(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(["ledger", "outcomes", listed(directory, 1)]) == 0
    assert capsys.readouterr().out == "        1  sent\n        1  failed\n"


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"event_id": "evt-1"}', '{"event_id": 1, "event_source": "/p"}'])
def test_a_line_that_names_no_event_is_named(directory: Path, capsys: pytest.CaptureFixture[str], line: str) -> None:
    file = Path(listed(directory, 1))
    file.write_text(file.read_text() + line)
    assert status(["ledger", "outcomes", str(file)]) == 2
    assert "line 2" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["ledger", "outcomes", "/nowhere"]) == 2
    assert "/nowhere" in capsys.readouterr().err

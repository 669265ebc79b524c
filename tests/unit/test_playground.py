"""`make dev` shows every result that there is, whatever it is about."""

import io
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aio_pika.abc import AbstractIncomingMessage
from rich.console import Console

from demo.display import result_line
from demo.playground import _show
from demo.results import Results
from tests.contract_examples import result_example
from worker.domain.vocabulary import ResultType


def as_json(result_type: ResultType) -> dict[str, Any]:
    document = json.loads(result_example(result_type).to_json())
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize("result_type", ResultType)
async def test_every_type_of_result_is_taken_and_shown(result_type: ResultType) -> None:
    """If one cannot be shown, then the task that shows them ends, and all later ones are missing."""
    screen = io.StringIO()
    console = Console(file=screen, width=200)
    results = Results(lambda result: _show(console, result))
    body = json.dumps(as_json(result_type)).encode()
    await results.take(cast("AbstractIncomingMessage", SimpleNamespace(body=body)))
    line = screen.getvalue()
    assert line.count("\n") == 1
    assert line.startswith(f"{result_type.value} ")
    assert len(line.split()) > 1


@pytest.mark.parametrize("result_type", ResultType)
def test_fields_that_may_be_null_may_be(result_type: ResultType) -> None:
    result = as_json(result_type)
    result["data"] = {
        name: value if name in ("ok", "steps", "recipients") else None for name, value in result["data"].items()
    }
    assert result_line(result).startswith(result_type.value)


@pytest.mark.parametrize(
    ("result_type", "words"),
    [
        (ResultType.MAIL_DEFERRED, "client@example.net reason=greylisted next_attempt_at="),
        (ResultType.SENT_COPY_SAVED, "outcome=saved folder=Отправленные"),
        (ResultType.MAILBOX_CHECKED, "not ok: auth (auth_app_password_required)"),
        (ResultType.MAILBOX_RESUMED, "mb-support reason=auth_failed resumed_by=settings_changed"),
        (ResultType.DEAD_LETTER_DISCARDED, "olga count=2 why=test letters"),
    ],
)
def test_the_line_says_what_came_of_it(result_type: ResultType, words: str) -> None:
    assert words in result_line(as_json(result_type))


def test_what_a_terminal_would_obey_is_escaped() -> None:
    result = as_json(ResultType.DEAD_LETTER_DISCARDED)
    result["data"]["why"] = "\x1b[2J\nmail.sent"
    assert result_line(result).endswith("why=\\x1b[2J\\x0amail.sent")

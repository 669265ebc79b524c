"""Logs: their form, what goes with every line, and what never gets into one."""

import importlib
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from worker.telemetry.logging import configure_logging

CANARY = "canary7"
TALKATIVE = ("aioimaplib", "aioimaplib.aioimaplib", "aiosmtplib", "aiormq", "aiormq.connection", "aio_pika", "asyncio")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    known = [name for name in logging.root.manager.loggerDict if name.startswith(("aio", "sqlalchemy", "watchfiles"))]
    loggers = [logging.getLogger(name) for name in {*known, *TALKATIVE}]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers = handlers


def lines(capture: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Every line of standard error, each parsed; nothing is on standard output."""
    captured = capture.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_each_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    """If a value has line breaks, quotes or Cyrillic, then it is still one line that a machine reads."""
    configure_logging("INFO", as_json=True)
    structlog.get_logger().info("mail.sent", text='a\n"b"', title="Ремонт")
    [line] = lines(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "mail.sent", "level": "info", "text": 'a\n"b"', "title": "Ремонт"}


def test_what_belongs_to_the_event_at_hand_goes_with_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    """If an event is in work, then each line about it has its id and trace, and the next event's have not."""
    configure_logging("INFO", as_json=True)
    with structlog.contextvars.bound_contextvars(event_id="evt-1", traceparent="00-1-2-01"):
        structlog.get_logger().info("one")
        structlog.get_logger("other").warning("two")
    structlog.get_logger().info("three")
    one, two, three = lines(capsys)
    assert (one["event_id"], one["traceparent"]) == (two["event_id"], two["traceparent"]) == ("evt-1", "00-1-2-01")
    assert not {"event_id", "traceparent"} & set(three)


@pytest.mark.parametrize(("level", "shown"), [("DEBUG", 4), ("INFO", 3), ("WARNING", 2), ("ERROR", 1)])
def test_levels(capsys: pytest.CaptureFixture[str], level: str, shown: int) -> None:
    configure_logging(level, as_json=True)
    log = structlog.get_logger()
    for say in (log.debug, log.info, log.warning, log.error):
        say("x")
    assert len(lines(capsys)) == shown


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_shows_no_variables(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    """If something fails while a secret is in a variable, then the log has the lines of code and not the value."""
    configure_logging("INFO", as_json=as_json)
    password = "".join(["can", "ary", "7"])
    try:
        raise ValueError("what happened" + password[:0])
    except ValueError:
        structlog.get_logger().exception("it.failed")
    text = capsys.readouterr().err
    assert "what happened" in text
    assert "test_a_traceback_shows_no_variables" in text
    assert CANARY not in text
    if as_json:
        assert len(text.splitlines()) == 1


def test_a_terminal_gets_a_readable_form(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", as_json=False)
    structlog.get_logger().info("mail.sent", attempt=2)
    text = capsys.readouterr().err
    assert "mail.sent" in text
    assert not text.startswith("{")


def test_without_a_terminal_the_form_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO")
    structlog.get_logger().info("x")
    assert lines(capsys)[0]["event"] == "x"


@pytest.mark.parametrize("name", TALKATIVE)
@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, logging.WARNING])
def test_libraries_that_print_credentials_say_nothing(
    capsys: pytest.CaptureFixture[str], name: str, level: int
) -> None:
    """If a library logs its commands, even from a logger with a level of its own, then no line of it comes out."""
    importlib.import_module("aioimaplib")
    logging.getLogger(name).setLevel(logging.DEBUG)
    configure_logging("DEBUG", as_json=True)
    logging.getLogger(name).log(level, "LOGIN user %s", CANARY)
    assert lines(capsys) == []


def test_errors_of_libraries_come_in_our_form(capsys: pytest.CaptureFixture[str]) -> None:
    """If asyncio reports a task that failed, then it is a JSON line like every other."""
    configure_logging("INFO", as_json=True)
    logging.getLogger("asyncio").error("Task exception was never retrieved")
    [line] = lines(capsys)
    assert (line["event"], line["library"], line["level"]) == ("library.error", "asyncio", "error")

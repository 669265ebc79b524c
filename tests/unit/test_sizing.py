"""The figures of the page on capacity follow from what was measured and what is assumed."""

import re
from pathlib import Path

import pytest

from bench.sizing import Assumptions, Costs, plan, table

PAGE = (Path(__file__).parent.parent.parent / "docs/capacity.md").read_text("utf-8")


def figure(name: str, letters: int, **assumed: float) -> float:
    """The first number of a row."""
    shown = dict(plan(letters, assumed=Assumptions(**assumed)))[name]  # type: ignore[arg-type]  # numbers either way
    return float(re.sub(r"[^\d.].*$", "", shown.replace(",", "")))


def test_the_page_has_the_table_of_today() -> None:
    """If a cost or an assumption changes, then so does the page."""
    assert table() in PAGE


@pytest.mark.parametrize(
    ("row", "cost", "factor"),
    [
        ("the same on a broker's disk, while it waits, bytes", Costs().event_bytes_on_broker, 1),
        ("the letter as it is sent, bytes", Costs().letter_bytes, 1),
        ("ledger with its indexes, bytes", Costs().ledger_bytes, 1),
        ("write-ahead log, bytes", Costs().ledger_log_bytes, 1),
        ("transactions, for 1,000 letters", Costs().ledger_transactions, 1_000),
        ("processor seconds of the worker, for 1,000 letters", Costs().worker_cpu_s + Costs().copy_cpu_s, 1_000),
    ],
)
def test_costs_are_those_that_the_page_says_were_measured(row: str, cost: float, factor: int) -> None:
    """If the page says what was measured, then the arithmetic takes it, rounded up by little."""
    [cells] = re.findall(rf"^\| {re.escape(row)} \|(.*)\|$", PAGE, re.MULTILINE)
    most = max(float(cell.replace(",", "")) for cell in cells.split("|")[:2])
    assert most <= cost * factor <= most * 1.1


def test_little_s_law_holds() -> None:
    """If each letter takes twice as long, then twice as many are in transmission, and the places suffice."""
    name = "letters in transmission at the peak"
    assert figure(name, 100_000_000, seconds_per_letter=3.0) == pytest.approx(2 * figure(name, 100_000_000), rel=0.001)
    places = figure("workers", 100_000_000) * figure("`SENDAS_CONCURRENCY`, for each", 100_000_000)
    assert places >= figure(name, 100_000_000)


def test_the_ledger_grows_with_letters_and_days() -> None:
    """If letters or days are ten times as many, then so are the ledger's rows."""
    name = "ledger, rows kept"
    assert figure(name, 10_000_000) == 10 * figure(name, 1_000_000) == figure(name, 1_000_000, retention_days=140)

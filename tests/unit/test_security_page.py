"""docs/security.md: each row of the attack tables has a test, and each bound a place."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
_TEST = re.compile(r"`(tests/[\w/]+\.py)((?:::\w+)+)`")
_BOUND = re.compile(r"`(\w+)`(?:, `(\w+)`)? in `(worker/[\w/]+\.py)`")


def attacks() -> list[str]:
    """The rows of the attack tables."""
    _, _, tables = PAGE.partition("## Attacks")
    tables, _, _ = tables.partition("## What is left")
    rows = [line for line in tables.splitlines() if line.startswith("| ")]
    return [row for row in rows if not row.startswith("| attack |")]


def _defined(path: Path) -> set[str]:
    """The tests of a file, those in classes as `Class::test`."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, _FUNCTIONS)}
        elif isinstance(node, _FUNCTIONS):
            found.add(node.name)
    return found


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def test_there_are_attacks() -> None:
    assert len(attacks()) > 35


@pytest.mark.parametrize("row", attacks(), ids=lambda row: row[2:50])
def test_each_attack_has_a_test(row: str) -> None:
    """If a row says that an attack is held, then a test shows it, its own or that of the row above."""
    assert _TEST.search(row) or row.endswith("| the same test |")


@pytest.mark.parametrize(("file", "name"), sorted(set(_TEST.findall(PAGE))))
def test_each_test_that_is_named_exists(file: str, name: str) -> None:
    assert name.removeprefix("::") in _defined(ROOT / file)


@pytest.mark.parametrize(("first", "second", "file"), _BOUND.findall(PAGE))
def test_each_bound_is_where_the_page_says(first: str, second: str, file: str) -> None:
    source = (ROOT / file).read_text()
    for name in filter(None, (first, second)):
        assert re.search(rf"^{name}\b", source, re.MULTILINE), name

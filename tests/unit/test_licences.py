"""What a worker is run with may be part of a work under GPL-3.0."""

import re
from pathlib import Path

import pytest

from deploy.licences import LOCK, LOCKS, is_compatible, licences, main

# Installed on other platforms only.
ELSEWHERE = {"colorama", "tzdata", "winloop"}


def test_every_dependency_may_be_part_of_the_work() -> None:
    """If a dependency comes in, or changes its licence, then only one that GPL-3.0 is compatible with."""
    found = [each for lock in LOCKS for each in licences(lock)]
    assert [f"{each.name}: {each.licence}" for each in found if not each.is_compatible] == []


def test_no_dependency_is_left_out() -> None:
    """If the lock names a package, then its licence was looked at."""
    locked = set(re.findall(r"^([A-Za-z0-9._-]+)==", LOCK.read_text(), re.MULTILINE))
    looked_at = {each.name for each in licences()}
    assert {"aioimaplib", "aio-pika", "sqlalchemy", "uvloop"} <= looked_at
    assert locked - looked_at <= ELSEWHERE


@pytest.mark.parametrize("expression", ["MIT", "GPL-3.0-only", "Apache-2.0 AND MIT", "Proprietary OR MIT"])
def test_what_may_be_included(expression: str) -> None:
    """If one of alternatives is compatible, then it can be chosen."""
    assert is_compatible(expression)


@pytest.mark.parametrize("expression", ["", "Proprietary", "GPL-2.0-only", "MIT AND Proprietary", "AGPL", "(MIT)"])
def test_what_may_not_be_included(expression: str) -> None:
    """If a part is not compatible, or nothing is said, or it is not understood, then it is not taken for compatible."""
    assert not is_compatible(expression)


def test_the_list_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """If somebody asks for the licences, then each package has a line with its version and licence."""
    assert main() == 0
    printed = capsys.readouterr()
    assert re.search(r"^aioimaplib +\S+ +GPL-3\.0-only$", printed.out, re.MULTILINE)
    assert not printed.err


def test_a_lock_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """If the lock were not found, then the list would not be empty in silence."""
    with pytest.raises(FileNotFoundError):
        list(licences(tmp_path / "none.txt"))

"""The commands that are run in bare Debian trees."""

from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from tools import debian

ROOT = Path(__file__).parents[2]


def test_the_tests_that_are_named_exist() -> None:
    named = (*debian.SERVERS, *debian.TLS, *debian.IMAP, *debian.SNAPSHOT)
    assert [name for name in named if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize(("version", "other"), [("12", "13"), ("13", "12"), ("24.04", "13")])
def test_the_other_release_is_the_one_that_this_machine_is_not(
    monkeypatch: pytest.MonkeyPatch, version: str, other: str
) -> None:
    monkeypatch.setattr(debian, "os_release", lambda: {"VERSION_ID": version})
    assert debian._releases("other") == [other]


def test_a_release_or_part_that_is_none_is_refused_with_those_there_are() -> None:
    with pytest.raises(ArgumentTypeError, match="'11' is not one of 12, 13"):
        debian._releases("12,11")
    with pytest.raises(ArgumentTypeError, match="'tests' is not one of demo, check, servers, test, chaos"):
        debian._parts("tests")

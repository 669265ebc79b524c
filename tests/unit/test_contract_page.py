"""The page for other teams says what the code says."""

import re
from enum import StrEnum
from pathlib import Path

import pytest

from worker.domain import vocabulary

PAGE = (Path(__file__).parents[2] / "docs" / "contract.md").read_text()

LISTS: dict[str, type[StrEnum]] = {
    "tier": vocabulary.Tier,
    "verdict": vocabulary.Verdict,
    "why": vocabulary.Why,
    "scope": vocabulary.Scope,
    "action": vocabulary.Action,
    "reason": vocabulary.Reason,
    "outcome (of a letter)": vocabulary.Outcome,
    "outcome (of a copy)": vocabulary.CopyOutcome,
    "resolution_policy": vocabulary.UncertainPolicy,
    "resumed_by": vocabulary.ResumedBy,
    "used_for": vocabulary.SignInUse,
    "role": vocabulary.Role,
    "smtp.auth.mechanism": vocabulary.Mechanism,
}


@pytest.mark.parametrize("name", LISTS)
def test_a_closed_list_on_the_page_is_the_one_in_the_code(name: str) -> None:
    """If a value is added in the code alone, then other teams would meet one that their page does not have."""
    expected = ", ".join(f"`{value}`" for value in LISTS[name])
    assert f"| {name} | {expected} |" in PAGE


def test_the_page_names_every_type_and_no_other() -> None:
    tables = PAGE[PAGE.index("## Events in") : PAGE.index("### Dropping duplicates")]
    first_cells = " ".join(re.findall(r"^\| (`[^|]*) \|", tables, re.MULTILINE))
    assert set(re.findall(r"`([a-z_.]+)`", first_cells)) == {*vocabulary.EventType, *vocabulary.ResultType}


def test_files_that_the_page_links_to_exist() -> None:
    for link in re.findall(r"\]\(\.\./([^)]+)\)", PAGE):
        assert (Path(__file__).parents[2] / link).exists(), link

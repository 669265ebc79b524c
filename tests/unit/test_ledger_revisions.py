"""The ids of the ledger's migrations say which code can work with their tables."""

from itertools import pairwise

import pytest
from alembic.script import ScriptDirectory

from worker.adapters.ledger.migration import alembic_config, oldest_code

REVISIONS = [each.revision for each in ScriptDirectory.from_config(alembic_config()).walk_revisions()][::-1]


def test_every_revision_is_numbered_without_a_gap() -> None:
    """If a version asks whether tables are newer than its own, then their numbers answer."""
    assert [int(revision[:4]) for revision in REVISIONS] == list(range(1, len(REVISIONS) + 1))


def test_what_one_revision_needs_all_later_ones_need_too() -> None:
    """If tables left some code behind, then no later migration lets it in again."""
    needed = [oldest_code(revision) for revision in REVISIONS]
    assert all(earlier <= later for earlier, later in pairwise(needed))
    assert all(oldest <= int(revision[:4]) for oldest, revision in zip(needed, REVISIONS, strict=True))


@pytest.mark.parametrize(("revision", "oldest"), [("0001", 1), ("0007", 1), ("0007_needs_0005", 5)])
def test_a_revision_says_what_it_needs(revision: str, oldest: int) -> None:
    """If an id names no number after its own, then every version can work with the tables."""
    assert oldest_code(revision) == oldest


@pytest.mark.parametrize("revision", ["", "7", "0007_needs_", "0007 ", "0007_needs_0005_needs_0003", "ae1027a6acf"])
def test_what_is_no_revision_of_ours_is_refused(revision: str) -> None:
    """If tables are of a stranger's revision, then nothing is guessed from it."""
    with pytest.raises(ValueError, match="is no revision"):
        oldest_code(revision)

"""CONTRIBUTING.md leads to files that are there, and pre-commit runs targets of the Makefile, without a network."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
FILES = re.findall(r"`([\w.-]+(?:/[\w.-]*)+|[\w.-]+\.(?:yaml|toml|md)|\.importlinter)`", PAGE)


@pytest.mark.parametrize("name", sorted({*FILES, *re.findall(r"\]\((?!https:)([^)#]+)\)", PAGE)}))
def test_what_the_page_names_is_there(name: str) -> None:
    """If a file moves, then the page follows."""
    assert (ROOT / name).exists()


def test_the_page_names_files_for_whatever_is_added() -> None:
    """If the pattern above stopped to find them, then the test above would say nothing."""
    assert {"worker/domain/providers.toml", "schemas/examples/", "pyproject.toml", ".importlinter"} <= set(FILES)


def test_hooks_are_local_and_their_targets_exist() -> None:
    """If a check is renamed, then the hook is; and no hook fetches anything."""
    assert [repo["repo"] for repo in HOOKS] == ["local"]
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    for hook in HOOKS[0]["hooks"]:
        program, _, *named = shlex.split(hook["entry"])
        assert (program, hook["language"]) == ("make", "system")
        assert set(named) <= targets, hook["id"]


def test_every_check_runs_before_a_push() -> None:
    """If a check is added to the Makefile, then Git runs it."""
    [last] = [hook for hook in HOOKS[0]["hooks"] if hook["stages"] == ["pre-push"]]
    assert last["entry"].split()[-1] == "check"
    assert last["always_run"]

"""The pages for operators name settings, alerts and pages that are there; of commands, see test_page_commands.py."""

import re
from pathlib import Path

import pytest
import yaml

from tests.deploy.rendering import PROJECT
from worker.settings import PREFIX, Settings

DOCS = PROJECT / "docs"
PAGES = ("handbook.md", "capacity.md", "kubernetes.md")
RUNBOOKS = "runbooks/"


def text_of(page: str) -> str:
    return (DOCS / page).read_text("utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_settings_are_there(page: str) -> None:
    """If the page names a setting, then the worker reads it."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    assert set(re.findall(r"SENDAS_[A-Z_]*[A-Z]", text_of(page))) <= known


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_there(page: str) -> None:
    """If the page refers to another one, then it exists."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text_of(page)):
        if not target.startswith(RUNBOOKS):
            assert (DOCS / target).exists(), target


def test_every_alert_is_explained_and_no_other() -> None:
    """If an alert comes, goes, or becomes one that wakes somebody, then the handbook's table does too."""
    rules = [
        rule
        for file in (PROJECT / "deploy/observability/rules").glob("*.yaml")
        for group in yaml.safe_load(file.read_text("utf-8")).get("groups", ())
        for rule in group["rules"]
        if "alert" in rule
    ]
    rows = re.findall(r"^\| \[(\w+)\]\(runbooks/(\w+)\.md\) \| (page|ticket) \|", text_of("handbook.md"), re.MULTILINE)
    assert all(name == page for name, page, _ in rows)
    assert len(rows) == len(set(rows)) > 20
    if rules:  # they are generated, and the table is not
        assert {(name, severity) for name, _, severity in rows} == {
            (rule["alert"], rule["labels"]["severity"]) for rule in rules
        }
        assert all(Path(DOCS / RUNBOOKS / f"{name}.md").exists() for name, _, _ in rows)

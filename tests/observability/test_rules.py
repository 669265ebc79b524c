"""Alerts: valid rules, a scenario each, and a page each that helps whoever is woken."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.observability.__main__ import RULES, main
from deploy.observability.alerts import ALERTS, GROUPS, Alert
from deploy.observability.promtool import complaints, failed_scenarios
from deploy.observability.recording import RECORDS, recordings
from deploy.observability.rules import rules_text
from deploy.observability.runbooks import configured
from deploy.observability.scenarios import SCENARIOS
from tests.observability.names import known_names, names_in

ROOT = Path(__file__).parents[2]
SECTIONS = ["What it means", "First look", "Likely causes", "Commands", "When to escalate"]


def test_the_files_are_what_the_code_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a dashboard or a rule is changed, then `python -m deploy.observability` is run."""
    monkeypatch.chdir(ROOT)
    assert main(["--check"]) == 0


def test_prometheus_takes_the_rules() -> None:
    assert complaints(RULES) == []


def test_a_broken_rule_would_be_noticed(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text(RULES.read_text().replace("sum by (job)", "sum by job", 1))
    assert complaints(broken)


@pytest.mark.timeout(400)  # seconds on a quiet machine
def test_each_alert_fires_in_its_scenario_and_in_no_quiet_one() -> None:
    """If what an alert is for happens, then it fires with its labels and texts; if only something like it, not."""
    assert failed_scenarios(RULES) == ""


@pytest.mark.timeout(400)  # seconds on a quiet machine
def test_an_alert_that_never_fires_would_be_noticed(tmp_path: Path) -> None:
    """If an alert's threshold were out of reach, then its scenario would say so."""
    deaf = tmp_path / "deaf.yaml"
    deaf.write_text(
        RULES.read_text().replace("sendas_publish_waiting_seconds) > 30", "sendas_publish_waiting_seconds) > 1e9")
    )
    assert "SendasPublisherBlocked" in failed_scenarios(deaf)


def test_every_alert_has_a_scenario_with_something_quiet() -> None:
    assert set(SCENARIOS) == {alert.name for alert in ALERTS}
    assert all(scenario.quiet for scenario in SCENARIOS.values())


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_has_what_the_woken_need(alert: Alert) -> None:
    """If an alert fires, then it says how urgent it is, what is wrong and where to read on."""
    rule: Any = alert.rule(configured())
    assert re.fullmatch(r"Sendas([A-Z][a-z]+)+", alert.name)
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert len(alert.summary) <= 100
    assert not alert.summary.endswith(".")
    assert alert.description.endswith(".")
    assert names_in(alert.expression) <= known_names() | {record.name for record in recordings()}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_has_a_page(alert: Alert) -> None:
    """If somebody is woken, then the page that the alert names exists, is about it, and has every section."""
    rule: Any = alert.rule(configured())
    url = rule["annotations"]["runbook_url"]
    assert url.startswith(("https://", "http://"))
    page = (ROOT / "docs/runbooks" / url.removeprefix(f"{configured()}/")).read_text("utf-8")
    assert page.startswith(f"# {alert.name}\n")
    assert f"**{alert.severity}**" in page
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == SECTIONS
    for section in re.split(r"^## .*$", page, flags=re.MULTILINE)[1:]:
        assert len(section.strip()) > 20
    commands = page.split("## Commands")[1].split("## ")[0]
    assert "```sh" in commands


def test_no_page_is_left_of_an_alert_that_is_gone() -> None:
    pages = {path.stem for path in (ROOT / "docs/runbooks").glob("Sendas*.md")}
    assert pages == {alert.name for alert in ALERTS}
    index = (ROOT / "docs/runbooks/README.md").read_text("utf-8")
    assert all(f"[{name}]({name}.md)" in index for name in pages)


@pytest.mark.parametrize("page", sorted((ROOT / "docs/runbooks").glob("*.md")), ids=lambda page: page.stem)
def test_what_a_page_names_exists(page: Path) -> None:
    """If a page names a metric, a setting, another page or a command, then there is one."""
    text = page.read_text("utf-8")
    assert {name for name in names_in(text) if name.startswith("sendas_")} <= known_names()
    settings = (ROOT / "docs/settings.md").read_text("utf-8")
    for setting in re.findall(r"SENDAS_[A-Z_]+", text):
        assert f"`{setting}`" in settings
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("https://") or (page.parent / link).exists()
    known = {path.stem.replace("_", "-") for path in (ROOT / "worker/cli").glob("*.py")}
    for commands in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        assert set(re.findall(r"^sendas ([a-z-]+)", commands, re.MULTILINE)) <= known


def test_the_pages_may_be_elsewhere() -> None:
    """If an operator keeps the pages in a wiki, then the rules can name that."""
    rules = yaml.safe_load(rules_text("https://wiki.example/sendas/"))
    urls = {
        rule["annotations"]["runbook_url"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule
    }
    assert "https://wiki.example/sendas/SendasUncertain.md" in urls
    assert len(urls) == len(ALERTS)


@pytest.mark.parametrize("told", ['"docs/runbooks"', '"https://"', '"https://wiki.example/a b"', "7", None])
def test_an_address_that_is_no_url_is_told(tmp_path: Path, told: str | None) -> None:
    """If the address of the pages cannot be opened, then no rules are written with it."""
    project = tmp_path / "pyproject.toml"
    project.write_text(f"[tool.sendas]\nrunbooks = {told}\n" if told else "")
    with pytest.raises(ValueError, match=r"^pyproject\.toml: tool\.sendas\.runbooks: expected a URL"):
        configured(project)


def test_the_failed_jobs_are_those_of_the_manifests() -> None:
    """If a Job gets another name, also one that ends with a version, then its failure is still told."""
    [alert] = [alert for alert in ALERTS if alert.name == "SendasJobFailed"]
    [pattern] = re.findall(r'job_name=~"([^"]*)"', alert.expression)
    jobs = [
        yaml.safe_load(path.read_text())
        for path in (ROOT / "deploy/k8s/jobs").glob("*.yaml")
        if "policy" not in path.name
    ]
    names = [each["metadata"]["name"] for each in jobs if each["kind"] == "Job"]
    assert len(names) == 2
    assert all(re.fullmatch(pattern, name + end) for name in names for end in ("", "-1-4-2"))


def test_groups_are_evaluated_after_what_they_compare() -> None:
    assert [group["name"] for group in yaml.safe_load(RULES.read_text())["groups"]] == [RECORDS, *GROUPS]

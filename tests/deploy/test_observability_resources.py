"""Rules and dashboards come to Kubernetes as they are in their files."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from os.path import relpath
from pathlib import Path

import pytest
import yaml

from deploy.observability_resources import DIRECTORY, written
from tests.deploy.rendering import KUBERNETES, PRODUCTION, PROJECT, Resource, of_kind
from tests.deploy.test_resources import KUBERNETES_VERSIONS, check

MAX_CONFIG_MAP_BYTES = 1_048_576
DASHBOARD = {"title": "Letters", "panels": [{"targets": [{"expr": "rate(sendas_x[$__rate_interval])"}]}]}
RULES = """
groups:
  - name: letters
    interval: 30s
    rules:
      - {record: "sendas:letters:rate5m", expr: "sum(rate(sendas_x[5m]))"}
      - alert: NothingLeaves
        expr: sendas:letters:rate5m == 0
        for: 10m
        labels: {severity: page}
        annotations: {summary: "Из {{ $labels.job }} ничего не уходит"}
"""
TESTS_OF_RULES = "rule_files: [alerts.yaml]\ntests: []\n"


@pytest.fixture
def observability(tmp_path: Path) -> Path:
    """A folder with a dashboard, rules, and tests of the rules."""
    directory = tmp_path / "observability"
    (directory / "dashboards").mkdir(parents=True)
    (directory / "rules").mkdir()
    (directory / "dashboards/overview.json").write_text(json.dumps(DASHBOARD))
    (directory / "rules/alerts.yaml").write_text(RULES)
    (directory / "rules/alerts_test.yaml").write_text(TESTS_OF_RULES)
    return directory


def applied(directory: Path) -> list[Resource]:
    """What kustomize makes of the folder, within a namespace."""
    for name, text in written(directory).items():
        (directory / name).write_text(text)
    overlay = directory.parent / "overlay"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text("namespace: sendas\ncomponents: [../observability]\n")
    kubectl = Path(sys.executable).with_name("kubectl")
    done = subprocess.run([kubectl, "kustomize", overlay], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


def test_the_files_are_up_to_date() -> None:
    """If a dashboard or a rule changes, then so do the resources: `make schemas` writes them."""
    for name in ("kustomization.yaml", "prometheus-rules.yaml"):
        file = DIRECTORY / name
        assert (file.read_text("utf-8") if file.exists() else None) == written().get(name)


def test_a_dashboard_is_a_config_map_that_grafana_finds(observability: Path) -> None:
    """If a dashboard is in the folder, then Grafana's sidecar gets its very text, under a name that stays."""
    [found] = [each for each in applied(observability) if each["kind"] == "ConfigMap"]
    assert found["metadata"]["name"] == "sendas-overview-dashboard"
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(found["data"]["overview.json"]) == DASHBOARD


def test_rules_are_a_prometheus_rule_and_their_tests_are_none(observability: Path) -> None:
    """If rules are in the folder, then the operator gets them unchanged; what tests them stays here."""
    [found] = [each for each in applied(observability) if each["kind"] == "PrometheusRule"]
    assert found["metadata"]["name"] == "sendas-alerts"
    assert found["spec"] == yaml.safe_load(RULES)
    check(found, KUBERNETES_VERSIONS[-1])


def test_what_is_gone_leaves_no_resource(observability: Path) -> None:
    """If the last rule or dashboard is taken away, then the folder still renders, to nothing."""
    shutil.rmtree(observability / "rules")
    shutil.rmtree(observability / "dashboards")
    assert not any(applied(observability))


def test_production_has_every_dashboard_and_rule() -> None:
    """If production is applied, then nothing that is in the folder is missing, and no dashboard is too large."""
    dashboards = [each for each in of_kind(PRODUCTION, "ConfigMap") if each["metadata"]["name"].endswith("-dashboard")]
    found = {name for each in dashboards for name in each["data"]}
    assert found == {each.name for each in (DIRECTORY / "dashboards").glob("*.json")}
    assert all(len(json.dumps(each).encode()) < MAX_CONFIG_MAP_BYTES for each in dashboards)
    rules = {
        group["name"]
        for each in (DIRECTORY / "rules").glob("*.yaml")
        for group in yaml.safe_load(each.read_text()).get("groups", ())
    }
    resources = of_kind(PRODUCTION, "PrometheusRule")
    assert {group["name"] for each in resources for group in each["spec"]["groups"]} == rules


def test_an_overlay_can_put_the_runbooks_elsewhere(tmp_path: Path) -> None:
    """If an overlay has what the page shows, then every alert leads to the overlay's address, and to the same page."""
    page = (PROJECT / "docs/kubernetes.md").read_text("utf-8")
    [shown] = [block for block in re.findall(r"^```yaml\n(.*?)^```$", page, re.M | re.S) if "replacements:" in block]
    overlay = f"resources: [{relpath(KUBERNETES / PRODUCTION, tmp_path)}]\n{shown}"
    (tmp_path / "kustomization.yaml").write_text(overlay)
    urls = [list(runbook_urls(where)) for where in (PRODUCTION, str(tmp_path))]
    assert len(urls[0]) > 20
    address = "https://git.example/operations/sendas/blob/main/docs/runbooks"
    assert urls[1] == [f"{address}/{url.rpartition('/')[2]}" for url in urls[0]]
    assert not [each for each in of_kind(str(tmp_path), "ConfigMap") if "runbooks" in each["metadata"]["name"]]


def runbook_urls(overlay: str) -> Iterator[str]:
    for resource in of_kind(overlay, "PrometheusRule"):
        for group in resource["spec"]["groups"]:
            yield from (rule["annotations"]["runbook_url"] for rule in group["rules"] if "alert" in rule)

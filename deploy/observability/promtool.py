"""Prometheus's own tool on the rules: are they valid, and does each alert do what its scenario says?"""

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from deploy.observability.alerts import ALERTS, GROUPS, Alert
from deploy.observability.recording import RECORDS
from deploy.observability.runbooks import configured, page
from deploy.observability.scenarios import LONG_STEP_M, SCENARIOS, Scenario

_LABEL = re.compile(r"\{\{ \$labels\.(\w+) \}\}")


def complaints(rules: Path) -> list[str]:
    """What the tool has to say against a rule file; nothing if it is valid."""
    words = _run("check", "rules", str(rules))
    return [words] if words else []


def failed_scenarios(rules: Path) -> str:
    """The scenarios in which the rules do not do what they should, in the tool's words; nothing if there is none."""
    with tempfile.TemporaryDirectory() as directory:
        tests = {step_m: Path(directory) / f"every-{step_m}-minutes.yaml" for step_m in (1, LONG_STEP_M)}
        for step_m, path in tests.items():
            path.write_text(yaml.safe_dump(scenario_file(rules, step_m)))
        return _run("test", "rules", *map(str, tests.values()))


def _run(*arguments: str) -> str:
    """Its words when it refuses, or nothing."""
    ran = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=300, check=False)
    return (ran.stdout + ran.stderr).strip() if ran.returncode else ""


def scenario_file(rules: Path, step_m: int) -> dict[str, object]:
    """All scenarios of one step as `promtool test rules` reads them."""
    scenarios = [(alert, SCENARIOS[alert.name]) for alert in ALERTS]
    tests = [test for alert, scenario in scenarios if scenario.step_m == step_m for test in _tests(alert, scenario)]
    return {
        "rule_files": [str(rules.resolve())],
        "evaluation_interval": f"{step_m}m",
        "group_eval_order": [RECORDS, *GROUPS],  # else in any order, and alerts may see what was recorded a step ago
        "tests": tests,
    }


def _tests(alert: Alert, scenario: Scenario) -> Iterator[dict[str, object]]:
    labels = {**scenario.labels, "severity": alert.severity}
    expected = {"exp_labels": labels, "exp_annotations": _told(alert, labels)}
    yield _test(alert, scenario, scenario.series, [expected])
    for series in scenario.quiet:
        yield _test(alert, scenario, series, [])


def _test(
    alert: Alert, scenario: Scenario, series: dict[str, str], expected: list[dict[str, dict[str, str]]]
) -> dict[str, object]:
    return {
        "interval": f"{scenario.step_m}m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [{"eval_time": scenario.after, "alertname": alert.name, "exp_alerts": expected}],
    }


def _told(alert: Alert, labels: dict[str, str]) -> dict[str, str]:
    """The annotations with the labels put in."""
    texts = {"summary": alert.summary, "description": alert.description}
    told = {name: _LABEL.sub(lambda match: labels[match[1]], text) for name, text in texts.items()}
    return told | {"runbook_url": page(alert.name, configured())}

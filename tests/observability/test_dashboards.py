"""Dashboards as Grafana's own linter wants them, and as people at night do."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from deploy.observability.__main__ import DASHBOARDS, HERE
from deploy.observability.alerts import ALERTS
from deploy.observability.drawing import Line, draw, formatted
from deploy.observability.overview import OVERVIEW
from deploy.observability.runbooks import configured
from tests.observability.names import known_names, names_in

Json = dict[str, Any]
FILES = [HERE / "dashboards" / f"{dashboard.uid}.json" for dashboard in DASHBOARDS]
DOCUMENTS: dict[str, Json] = {path.stem: json.loads(path.read_text("utf-8")) for path in FILES}
UNITS = {"ops", "s", "short", "percentunit", "none", "bytes"}
KINDS = {"timeseries", "stat", "bargauge", "table", "row"}
PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, document in DOCUMENTS.items()
    for panel in document["panels"]
    if panel["type"] != "row"
]
TARGETS = [
    pytest.param(target, id=f"{name}: {panel['title']}: {target['refId']}")
    for name, document in DOCUMENTS.items()
    for panel in document["panels"]
    for target in panel.get("targets", [])
]
_SELECTOR = re.compile(r"\{[^{}]*\}")
_RANGE = re.compile(r"\[([^\]]+)\]")


def test_there_are_three() -> None:
    assert {path.name for path in (HERE / "dashboards").iterdir()} == {path.name for path in FILES}
    assert len(DOCUMENTS) == 3


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=list(DOCUMENTS))
class TestDashboard:
    def test_it_can_be_imported_anywhere(self, document: Json) -> None:
        """If it is imported, then it has a name of its own and no other Grafana's id, and is not edited by accident."""
        assert "id" not in document
        assert re.fullmatch(r"[a-z-]{1,40}", document["uid"])
        assert document["title"]
        assert document["description"]
        assert document["schemaVersion"] >= 36
        assert document["editable"] is False
        assert document["tags"] == ["sendas"]
        assert "DS_" not in json.dumps(document)

    def test_source_job_and_instance_are_variables(self, document: Json) -> None:
        source, job, instance = document["templating"]["list"]
        assert (source["name"], source["label"], source["type"], source["query"]) == (
            "datasource", "Data source", "datasource", "prometheus",
        )  # fmt: skip
        for variable, name, label in ((job, "job", "Job"), (instance, "instance", "Instance")):
            assert (variable["name"], variable["label"], variable["type"]) == (name, label, "query")
            assert variable["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert variable["multi"] is variable["includeAll"] is True
            assert variable["allValue"] == ".+"
            assert variable["refresh"] == 2  # anew when the time range changes: workers come and go
            assert names_in(variable["definition"].replace("label_values(", "").replace(",", " ")) <= known_names()
        assert 'job=~"$job"' in instance["definition"]

    def test_panels_have_ids_of_their_own_and_do_not_overlap(self, document: Json) -> None:
        panels = document["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        for one, other in combinations([panel["gridPos"] for panel in panels], 2):
            is_apart = (
                one["x"] + one["w"] <= other["x"]
                or other["x"] + other["w"] <= one["x"]
                or one["y"] + one["h"] <= other["y"]
                or other["y"] + other["h"] <= one["y"]
            )
            assert is_apart, (one, other)
        assert all(0 <= panel["gridPos"]["x"] <= 24 - panel["gridPos"]["w"] for panel in panels)

    def test_alerts_and_roll_outs_are_marked(self, document: Json) -> None:
        """If an alert fires or a version is rolled out, then every panel shows when."""
        marks = document["annotations"]["list"]
        assert [mark["name"] for mark in marks] == ["Alerts", "Roll-outs"]
        for mark in marks:
            assert mark["enable"] is True
            assert mark["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert mark["titleFormat"]
            assert all('job=~"$job' in selector for selector in _SELECTOR.findall(mark["expr"]))
        assert 'alertname=~"Sendas.+"' in marks[0]["expr"]
        assert "sendas_build_info" in marks[1]["expr"]

    def test_the_dashboards_lead_to_each_other(self, document: Json) -> None:
        """If somebody goes from one dashboard to another, then time, jobs and instances stay chosen."""
        [links] = document["links"]
        assert (links["type"], links["tags"]) == ("dashboards", document["tags"])
        assert links["includeVars"] is links["keepTime"] is True

    def test_titles_are_told_apart(self, document: Json) -> None:
        titles = [panel["title"] for panel in document["panels"]]
        assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows(panel: Json) -> None:
    """If somebody sees a panel for the first time, then title, description and unit say what it is."""
    assert panel["type"] in KINDS
    assert panel["title"][0].isupper()
    assert len(panel["title"]) <= 50
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["targets"]
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@pytest.mark.parametrize("target", TARGETS)
def test_a_query_keeps_the_linters_rules(target: Json) -> None:
    """If jobs or instances are chosen, then every query obeys; rates go by the rate interval, and counters by rates."""
    expression = target["expr"]
    assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert target["legendFormat"]
    selectors = _SELECTOR.findall(expression)
    assert selectors
    for selector in selectors:
        assert 'job=~"$job"' in selector
        assert 'instance=~"$instance"' in selector
    for function, window in re.findall(r"(rate|increase)\([^()]*\[([^\]]+)\]\)", expression):
        assert window == "$__rate_interval" if function == "rate" else window in {"$__range", "1h", "6h"}
    assert len(_RANGE.findall(expression)) == len(re.findall(r"\b(?:rate|increase)\(", expression))
    for counter in re.findall(r"\w+_(?:total|bucket|sum|count)\b(?=\{)", expression):
        assert re.search(rf"\b(?:rate|increase)\({counter}\{{", expression)
    assert names_in(expression)
    assert names_in(expression) <= known_names()


LINKS = [
    pytest.param(name, link, id=f"{name}: {panel['title']}: {link['title']}")
    for name, document in DOCUMENTS.items()
    for panel in document["panels"]
    for link in panel.get("links", [])
]


@pytest.mark.parametrize(("name", "link"), LINKS)
def test_a_link_leads_somewhere(name: str, link: Json) -> None:
    """If a panel leads on, then to a runbook that there is, or to another dashboard with what was chosen."""
    if link["title"].startswith("Runbook: "):
        alert = link["title"].removeprefix("Runbook: ")
        assert link["url"] == f"{configured()}/{alert}.md"
        assert (HERE.parents[1] / f"docs/runbooks/{alert}.md").exists()
    else:
        path, _, query = link["url"].partition("?")
        assert path.removeprefix("/d/") in DOCUMENTS.keys() - {name}
        assert set(query.split("&")) == {
            "${datasource:queryparam}", "${job:queryparam}", "${instance:queryparam}", "${__url_time_range}",
        }  # fmt: skip


def test_every_runbook_is_linked_from_a_panel() -> None:
    """If somebody looks at what an alert is about, then its runbook is one click away."""
    linked = {alert for dashboard in DASHBOARDS for panel in dashboard.panels for alert in panel.alerts}
    assert linked == {alert.name for alert in ALERTS}


def test_every_dashboard_is_led_to_from_a_panel() -> None:
    assert {panel.more for dashboard in DASHBOARDS for panel in dashboard.panels if panel.more} == DOCUMENTS.keys()


def test_every_metric_is_on_a_dashboard() -> None:
    """If a metric is made, then somebody can see it: else it costs a series and tells nobody anything."""
    shown = {name for document in DOCUMENTS.values() for name in names_in(json.dumps(document).replace('\\"', '"'))}
    for name in (
        name
        for name in known_names()
        if name.startswith("sendas_") and not name.endswith(("_bucket", "_sum", "_count"))
    ):
        is_histogram = f"{name}_bucket" in known_names()
        assert name in shown or (is_histogram and shown & {f"{name}_bucket", f"{name}_sum"}), name


def test_the_overview_can_be_drawn(tmp_path: Path) -> None:
    """If the overview's panels have answers, or none, then a picture comes of it."""
    lines = [Line("sent", ((0.0, 1.0), (60.0, 2.5))), Line("other", ((0.0, float("nan")), (60.0, 0.2)))]
    answers = {panel.title: lines for panel in OVERVIEW.panels[:-1]}
    path = tmp_path / "overview.png"
    draw(OVERVIEW, answers, "a test", path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 50_000


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "words"),
    [
        (0.9991, "percentunit", 3, "99.91 %"),
        (1.0, "percentunit", 3, "100 %"),
        (0.0123, "s", None, "12.3 ms"),
        (75, "s", 0, "1.25 min"),
        (0, "s", 0, "0 s"),
        (5.264, "ops", 2, "5.26 /s"),
        (12, "short", 0, "12"),
        (float("nan"), "s", None, "–"),
    ],
)
def test_values_are_shown_with_their_unit(value: float, unit: str, decimals: int | None, words: str) -> None:
    assert formatted(value, unit, decimals) == words

"""Dashboards as data, and as the JSON that Grafana imports."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from deploy.observability.runbooks import page

Kind = Literal["timeseries", "stat", "bargauge", "table"]
Json = dict[str, Any]

WIDTH = 24
_SCHEMA_VERSION = 39  # Grafana 10.4 and later read it
# What is chosen on one dashboard is chosen on the next.
_KEPT = "${datasource:queryparam}&${job:queryparam}&${instance:queryparam}&${__url_time_range}"
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked, and how its series are called (`{{label}}` stands for a label's value)."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `unit` is one of Grafana's units; `steps` are (from this value on, colour).

    It links to the runbooks of `alerts`, and to the dashboard with the uid `more`, for those who look for a cause.
    """

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    width: int = 8
    height: int = 8
    is_stacked: bool = False
    decimals: int | None = None
    minimum: float | None = 0
    maximum: float | None = None
    steps: tuple[tuple[float, str], ...] = ()
    alerts: tuple[str, ...] = ()
    more: str = ""


@dataclass(frozen=True, slots=True)
class Annotation:
    """Moments that are marked on every panel. Its texts may name `{{labels}}`."""

    name: str
    colour: str
    expression: str
    title: str
    text: str


ANNOTATIONS = (
    # Some alerts have no label `job`: they are about all workers together.
    Annotation(
        "Alerts",
        "red",
        'ALERTS{alertstate="firing", alertname=~"Sendas.+", job=~"$job|"}',
        "{{alertname}}",
        "{{severity}} {{queue}} {{reason}} {{instance}}",
    ),
    # A version is new for as long as five minutes ago no worker had it: going back is a roll-out too.
    Annotation(
        "Roll-outs",
        "blue",
        'sum by (job, version) (sendas_build_info{job=~"$job"})'
        ' unless sum by (job, version) (sendas_build_info{job=~"$job"} offset 5m)',
        "{{version}}",
        "the first workers of this version, {{job}}",
    ),
)


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading, from left to right and then down."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard; `uid` is its name in URLs and of its file."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels."""
        return tuple(panel for row in self.rows for panel in row.panels)


def rendered(dashboard: Dashboard, runbooks: str) -> str:
    """The JSON to import; `runbooks` is the address of the runbooks' pages."""
    document = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["sendas"],
        "schemaVersion": _SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": list(_variables())},
        "links": [_links()],
        "annotations": {"list": [_annotation(each) for each in ANNOTATIONS]},
        "panels": list(_panels(dashboard.rows, runbooks)),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _variables() -> Iterator[Json]:
    yield {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "current": {"text": "default", "value": "default"},
        "hide": 0,
    }
    yield _label_variable("job", "Job", 'label_values({__name__=~"sendas_build_info|sendas_history_build_info"}, job)')
    yield _label_variable(
        "instance",
        "Instance",
        'label_values({__name__=~"sendas_build_info|sendas_history_build_info", job=~"$job"}, instance)',
    )


def _label_variable(name: str, label: str, query: str) -> Json:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": f"variable-{name}"},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "hide": 0,
    }


def _links() -> Json:
    return {
        "type": "dashboards",
        "title": "sendas",
        "tags": ["sendas"],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
    }


def _annotation(annotation: Annotation) -> Json:
    return {
        "name": annotation.name,
        "datasource": _SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": annotation.colour,
        "expr": annotation.expression,
        "step": "30s",
        "titleFormat": annotation.title,
        "textFormat": annotation.text,
        "useValueForTime": False,
    }


def _panels(rows: Sequence[Row], runbooks: str) -> Iterator[Json]:
    number, top = 1, 0
    for row in rows:
        yield _row(row.title, number, top)
        number, top = number + 1, top + 1
        left = line_height = 0
        for panel in row.panels:
            if left + panel.width > WIDTH:
                left, top, line_height = 0, top + line_height, 0
            place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            yield _panel(panel, number, place) | _ways_on(panel, runbooks)
            number, left, line_height = number + 1, left + panel.width, max(line_height, panel.height)
        top += line_height


def _row(title: str, number: int, top: int) -> Json:
    place = {"x": 0, "y": top, "w": WIDTH, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _panel(panel: Panel, number: int, place: Json) -> Json:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": place,
        "targets": [_target(panel, query, chr(ord("A") + n)) for n, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": _options(panel),
    }


def _ways_on(panel: Panel, runbooks: str) -> Json:
    """Links in a panel's corner."""
    links = [
        {"title": f"Runbook: {alert}", "url": page(alert, runbooks), "targetBlank": True} for alert in panel.alerts
    ]
    if panel.more:
        links.append({"title": f"More: {panel.more}", "url": f"/d/{panel.more}?{_KEPT}", "targetBlank": False})
    return {"links": links} if links else {}


def _target(panel: Panel, query: Query, letter: str) -> Json:
    target: Json = {
        "refId": letter,
        "datasource": _SOURCE,
        "editorMode": "code",
        "expr": query.expression,
        "legendFormat": query.legend,
    }
    # All but lines over time show one value: what was asked at the end of the dashboard's time.
    return (
        target
        | ({"range": True} if panel.kind == "timeseries" else {"instant": True, "range": False})
        | ({"format": "table"} if panel.kind == "table" else {})
    )


def _field(panel: Panel) -> Json:
    steps: list[Json] = [{"color": "green" if panel.steps else "text", "value": None}]
    steps += [{"color": color, "value": value} for value, color in panel.steps]
    field: Json = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    for name, value in (("decimals", panel.decimals), ("min", panel.minimum), ("max", panel.maximum)):
        if value is not None:
            field[name] = value
    if panel.kind == "timeseries":
        field["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 40 if panel.is_stacked else 10,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.is_stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if panel.steps else "off"},
        }
    else:
        field["color"] = {"mode": "thresholds"}
    return field


def _options(panel: Panel) -> Json:
    if panel.kind == "timeseries":
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    if panel.kind == "table":
        return {"showHeader": True}
    reduced = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    if panel.kind == "bargauge":
        return {"orientation": "horizontal", "displayMode": "basic", "reduceOptions": reduced, "showUnfilled": True}
    return {"colorMode": "value", "graphMode": "none", "textMode": "auto", "reduceOptions": reduced}

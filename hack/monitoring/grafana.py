"""A dashboard as Grafana's JSON: up to three panels abreast, in rows that open and close.

Nothing of it depends on where Grafana runs: the viewer chooses the data source.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from monitoring.panels import Dashboard, Panel, Row

_COLUMNS, _HEIGHT, _ABREAST = 24, 8, 3
_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
_ALL: Final = ".*"
"""Off a cluster series have no namespace; `.*` matches that too."""


def document(dashboard: Dashboard) -> dict[str, Any]:
    """What Grafana imports."""
    return {
        "uid": f"rlvr-{dashboard.name}",
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["rlvr"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "links": [{"type": "dashboards", "title": "RLVR", "tags": ["rlvr"], "asDropdown": True, "keepTime": True}],
        "templating": {"list": list(_variables(dashboard))},
        "panels": list(_panels(dashboard)),
    }


def expression(text: str) -> str:
    """A query as Grafana understands it: placeholders become matchers on its variables."""
    text = text.replace("{$job", '{namespace=~"$namespace",rlvr_job=~"$job"')
    return text.replace("{$operator", '{job=~"$operator"')


def _variables(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    yield {"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus"}
    if dashboard.about_jobs:
        yield _variable("namespace", "Namespace", "label_values(rlvr_coordinator_groups_in_flight, namespace)")
        jobs = 'label_values(rlvr_coordinator_groups_in_flight{namespace=~"$namespace"}, rlvr_job)'
        yield _variable("job", "Job", jobs)
    else:
        yield _variable("operator", "Operator", "label_values(rlvr_operator_leader, job)")


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": _ALL,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _panels(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    number, top = 1, 0
    for row in dashboard.rows:
        yield _heading(row, number, top)
        number, top = number + 1, top + 1
        for line in _lines(row.panels):
            width = _COLUMNS // len(line)
            for index, panel in enumerate(line):
                yield _panel(panel, number, {"x": index * width, "y": top, "w": width, "h": _HEIGHT})
                number += 1
            top += _HEIGHT


def _lines(panels: Sequence[Panel]) -> Iterator[Sequence[Panel]]:
    """As few lines as there can be, and as even."""
    begin, left = 0, -(-len(panels) // _ABREAST)
    while left:
        count = -(-(len(panels) - begin) // left)
        yield panels[begin : begin + count]
        begin, left = begin + count, left - 1


def _heading(row: Row, number: int, top: int) -> dict[str, Any]:
    place = {"x": 0, "y": top, "w": _COLUMNS, "h": 1}
    return {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.question,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": place,
        "targets": list(_targets(panel)),
        "fieldConfig": {"defaults": {"unit": panel.unit, "custom": _drawn(panel)}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def _targets(panel: Panel) -> Iterator[dict[str, Any]]:
    for index, query in enumerate(panel.queries):
        yield {
            "refId": chr(ord("A") + index),
            "datasource": _SOURCE,
            "expr": expression(query.text),
            "legendFormat": query.legend,
            "range": True,
        }


def _drawn(panel: Panel) -> dict[str, Any]:
    drawn = {
        "lineWidth": 1,
        "fillOpacity": 60 if panel.stacked else 0,
        "showPoints": "auto",
        "spanNulls": True,
        "axisSoftMin": 0,
    }
    return drawn | ({"stacking": {"mode": "normal", "group": "A"}} if panel.stacked else {})

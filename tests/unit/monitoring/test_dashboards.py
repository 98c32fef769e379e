"""Dashboards are made of declared metrics alone, leave none out, and are what the chart holds."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest

from monitoring.__main__ import DASHBOARDS, texts
from monitoring.alerts import ALERTS
from monitoring.grafana import document, expression
from monitoring.panels import Dashboard, Panel, Query
from rlvr_operator.metrics import TABLE as OF_THE_OPERATOR
from rlvr_trainer.metrics import TABLE as OF_THE_TRAINER

NAME: Final = re.compile(r"\brlvr_(?:learner|checkpoint|coordinator|rollout|engine|reward|operator)_[a-z_]+")
LABELS: Final = {row.name: set(row.labels) for row in (*OF_THE_TRAINER, *OF_THE_OPERATOR)}
OF_THE_SCRAPE: Final = {"namespace", "rlvr_job", "instance", "pod", "job", "le"}
SUFFIX: Final = re.compile(r"_(?:bucket|sum|count)$")


def declared(name: str) -> str:
    """The row of the table that a series belongs to."""
    return name if name in LABELS else SUFFIX.sub("", name)


def metrics_in(text: str) -> set[str]:
    return {declared(name) for name in NAME.findall(text)}


def labels_in(text: str) -> set[str]:
    """Labels that a query groups by or matches."""
    groups = re.findall(r"(?:by|on|group_left|group_right) \(([^)]*)\)", text)
    matched = re.findall(r"(\w+)(?:=~|!~|!=|=)\"", text)
    return {word for group in groups for word in group.replace(" ", "").split(",") if word} | set(matched)


PANELS: Final = [(dashboard, panel) for dashboard in DASHBOARDS for panel in dashboard.panels()]


def expressions() -> Iterator[tuple[str, str]]:
    """Everything that Prometheus is asked, with where it stands."""
    for dashboard, panel in PANELS:
        yield from ((f"{dashboard.name}: {panel.question}", query.text) for query in panel.queries)
    yield from ((alert.name, alert.when) for alert in ALERTS)


def question(it: object) -> str:
    return getattr(it, "question", "")


@pytest.mark.parametrize(("where", "text"), list(expressions()), ids=str)
def test_a_query_uses_declared_metrics_and_labels_that_they_have(where: str, text: str) -> None:
    used = metrics_in(text)

    assert used, where
    assert used <= LABELS.keys()
    assert labels_in(text) <= set().union(*(LABELS[name] for name in used)) | OF_THE_SCRAPE


def test_every_declared_metric_is_shown_or_watched() -> None:
    assert LABELS.keys() - set().union(*(metrics_in(text) for _, text in expressions())) == set()


@pytest.mark.parametrize(("dashboard", "panel"), PANELS, ids=question)
def test_a_legend_tells_series_apart_by_labels_that_they_have(dashboard: Dashboard, panel: Panel) -> None:
    """Lines by job; layers are of all jobs together."""
    for query in panel.queries:
        named = set(re.findall(r"{{(\w+)}}", query.legend))
        known = set().union(*(LABELS[name] for name in metrics_in(query.text))) | OF_THE_SCRAPE
        assert named <= known
        assert ("rlvr_job" in named) == (dashboard.about_jobs and not panel.stacked)


@pytest.mark.parametrize(("dashboard", "panel"), PANELS, ids=question)
def test_a_panel_asks_one_question_and_says_what_is_normal(dashboard: Dashboard, panel: Panel) -> None:
    assert panel.question.endswith("?")
    assert len(panel.description) > 20
    assert panel.unit in {"none", "percentunit", "s", "bytes", "sci"}
    assert len({query.text for query in panel.queries}) == len(panel.queries)


def test_no_question_is_asked_twice() -> None:
    questions = [panel.question for _, panel in PANELS]
    assert len(set(questions)) == len(questions)


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda it: it.name)
def test_panels_fill_their_lines_and_never_overlap(dashboard: Dashboard) -> None:
    taken: dict[int, list[tuple[int, int]]] = {}
    for panel in document(dashboard)["panels"]:
        place = panel["gridPos"]
        taken.setdefault(place["y"], []).append((place["x"], place["x"] + place["w"]))
    for spans in taken.values():
        assert [begin for begin, _ in spans] == [0, *(end for _, end in spans[:-1])]
        assert spans[-1][1] == 24


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda it: it.name)
def test_a_viewer_can_choose_what_the_queries_ask_for(dashboard: Dashboard) -> None:
    made = document(dashboard)
    chosen = {variable["name"] for variable in made["templating"]["list"]}
    targets = [target for panel in made["panels"] for target in panel.get("targets", [])]
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(targets))) - {"__rate_interval"}
    assert used == chosen
    assert len({panel["id"] for panel in made["panels"]}) == len(made["panels"])


def test_what_a_viewer_chooses_narrows_every_selector() -> None:
    text = 'max(rlvr_learner_step{$job}) - sum(rate(rlvr_coordinator_groups_total{$job,fate="flat"}[5m]))'
    chosen = 'namespace=~"$namespace",rlvr_job=~"$job"'
    assert expression(text) == (
        f'max(rlvr_learner_step{{{chosen}}}) - sum(rate(rlvr_coordinator_groups_total{{{chosen},fate="flat"}}[5m]))'
    )


def test_layers_have_no_job_and_are_stacked() -> None:
    stacked: list[dict[str, Any]] = [
        panel
        for dashboard in DASHBOARDS
        for panel in document(dashboard)["panels"]
        if "stacking" in panel.get("fieldConfig", {}).get("defaults", {}).get("custom", {})
    ]
    assert "In what state are replicas?" in {panel["title"] for panel in stacked}
    assert not [it for panel in stacked for it in panel["targets"] if "by (namespace, rlvr_job" in it["expr"]]


def test_a_metric_that_nobody_declared_is_noticed() -> None:
    assert metrics_in(Query("rate(rlvr_learner_smiles_total{$job}[5m])", "").text) - LABELS.keys()
    assert "moon" in labels_in('sum by (rlvr_job) (rlvr_learner_step{moon="full"})')


@pytest.mark.parametrize("path", list(texts()), ids=lambda path: path.name)
def test_the_chart_holds_what_make_generate_would_write(path: Any) -> None:
    assert path.read_text() == texts()[path]

"""Monitors, rules and dashboards: there when the cluster knows them, about what pods really serve."""

import json
from typing import Any

import pytest
import yaml

from charts import CHART, HELMS, of_kind, rendered, the
from workload_builders import a_seen_job, all_pods

KINDS = {"ServiceMonitor", "PodMonitor", "PrometheusRule"}
KNOWN = ("--api-versions", "monitoring.coreos.com/v1")
ALWAYS = ("--set", "monitoring.enabled=always")
EVERYTHING = ("--values", CHART / "ci" / "03-everything-values.yaml")


def kinds(*options: Any) -> set[str]:
    return {it["kind"] for it in rendered(*options)} & KINDS


@pytest.mark.parametrize("helm", HELMS)
def test_monitors_are_made_where_the_cluster_knows_them_or_when_told(helm: str) -> None:
    assert kinds(helm) == set()
    assert kinds(helm, *KNOWN) == kinds(helm, *ALWAYS) == KINDS
    assert kinds(helm, *KNOWN, "--set", "monitoring.enabled=never") == set()


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize(
    ("part", "kind"), [("operator", "ServiceMonitor"), ("jobs", "PodMonitor"), ("alerts", "PrometheusRule")]
)
def test_each_of_them_can_be_left_out(helm: str, part: str, kind: str) -> None:
    assert kind not in kinds(helm, *ALWAYS, "--set", f"monitoring.{part}=false")


@pytest.mark.parametrize("helm", HELMS)
def test_jobs_are_scraped_at_every_port_that_serves_metrics(helm: str) -> None:
    """vLLM's own port is on its pod's loopback: its numbers come from the agent."""
    spec = the(rendered(helm, *ALWAYS), "PodMonitor")["spec"]
    pods = all_pods(a_seen_job())
    ports = {port["name"] for pod in pods for it in pod["spec"]["containers"] for port in it.get("ports", [])}
    roles = {rule["targetLabel"]: rule for it in spec["podMetricsEndpoints"] for rule in it["relabelings"]}

    assert {it["port"] for it in spec["podMetricsEndpoints"]} == ports - {"engine"}
    assert all(it["path"] == "/metrics" for it in spec["podMetricsEndpoints"])
    assert all(pod["metadata"]["labels"].items() >= spec["selector"]["matchLabels"].items() for pod in pods)
    assert roles.keys() == {"rlvr_job", "index", "role"}


@pytest.mark.parametrize("helm", HELMS)
def test_values_reach_monitors_and_dashboards(helm: str) -> None:
    objects = rendered(helm, *EVERYTHING)
    for kind in kinds(helm, *EVERYTHING):
        assert the(objects, kind)["metadata"]["labels"]["release"] == "prometheus"
    assert the(objects, "PodMonitor")["spec"]["namespaceSelector"] == {"matchNames": ["team-a"]}
    assert {it["interval"] for it in the(objects, "PodMonitor")["spec"]["podMetricsEndpoints"]} == {"30s"}
    for dashboard in of_kind(objects, "ConfigMap").values():
        assert dashboard["metadata"]["namespace"] == "monitoring"
        assert dashboard["metadata"]["labels"]["grafana"] == "yes"
        assert dashboard["metadata"]["annotations"] == {"grafana_folder": "Training"}


@pytest.mark.parametrize("helm", HELMS)
def test_every_dashboard_is_shipped_as_it_is(helm: str) -> None:
    files = {path.name: json.loads(path.read_text()) for path in CHART.glob("files/dashboards/*.json")}
    shipped = {name: text for it in of_kind(rendered(helm), "ConfigMap").values() for name, text in it["data"].items()}

    assert {name: json.loads(text) for name, text in shipped.items()} == files
    assert of_kind(rendered(helm, "--set", "dashboards.enabled=false"), "ConfigMap") == {}


@pytest.mark.parametrize("helm", HELMS)
def test_every_alert_is_shipped_with_its_runbook_where_the_values_say(helm: str) -> None:
    text = (CHART / "files" / "alerts.yaml").read_text()
    moved = text.replace("docs/runbooks/", "https://example.com/runbooks/")

    assert moved != text
    assert the(rendered(helm, *ALWAYS), "PrometheusRule")["spec"] == yaml.safe_load(text)
    assert the(rendered(helm, *EVERYTHING), "PrometheusRule")["spec"] == yaml.safe_load(moved)

"""The chart's values: few, each explained, and no other is taken."""

import json
import re
from dataclasses import fields
from typing import Any

import pytest
import yaml

from charts import CHART, CI, HELMS, leaves, run_helm, try_render
from rlvr_operator.settings import Settings

VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
OWN = {
    "namespace",
    "service_account",
    "identity",
    "lease_name",
    "watch_namespaces",
    "watch_nodes",
    "trainer_image",
    "engine_image",
    "reward_image",
    "cluster_domain",
    "monitoring_namespace",
    "log_level",
}
"""Settings that have a value of their own or are the pod's."""
FIXED = {"host", "port"}
"""The probes, the Service and the policy name the port."""
KEY = re.compile(r"^ *[a-zA-Z]+:")


def unexplained() -> list[str]:
    """Keys of values.yaml, groups aside, without a comment above them."""
    lines = (CHART / "values.yaml").read_text().splitlines()
    keys = [(before, line) for before, line in zip(["", *lines], lines, strict=False) if KEY.match(line)]
    return [line for before, line in keys if not line.endswith(":") and not before.strip().startswith("# ")]


def closed(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Objects of the schema that name their members."""
    members = schema.get("properties", {})
    return [schema] * bool(members) + [it for each in members.values() for it in closed(each)]


def test_there_are_few_values_and_each_is_explained() -> None:
    assert unexplained() == []
    assert len(leaves(VALUES)) <= 60


def test_the_schema_knows_the_values_and_no_other() -> None:
    known = leaves(_members(SCHEMA))

    assert {path for path in known if not path.startswith(("settings.", "global"))} - {"settings"} == (
        leaves(VALUES).keys() - {"settings"}
    )
    assert all(each["additionalProperties"] is False for each in closed(SCHEMA))


def _members(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: _members(it) for name, it in schema.get("properties", {}).items()}


def test_the_settings_that_have_no_value_of_their_own_are_those_of_the_operator() -> None:
    words = {"int": "integer", "float": "number", "str": "string"}
    free = {it.name: words[str(it.type)] for it in fields(Settings) if it.name not in OWN | FIXED}

    assert {name: it["type"] for name, it in SCHEMA["properties"]["settings"]["properties"].items()} == free


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize(
    "wrong",
    [
        "replica=3",
        "images.trainr=x",
        "settings.worker=1",
        "replicas=0",
        "monitoring.enabled=yes",
        "logLevel=LOUD",
        "watchNamespaces={Team}",
        "settings.workers=many",
    ],
)
def test_a_value_that_cannot_work_is_refused_by_name(helm: str, wrong: str) -> None:
    done = try_render(helm, "--set", wrong)

    assert done.returncode != 0
    assert re.split(r"[.=]", wrong)[-2] in done.stderr


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("values", CI, ids=lambda path: path.stem)
def test_the_chart_passes_helm_s_own_checks(helm: str, values: Any) -> None:
    done = run_helm(helm, "lint", "--strict", CHART, "--values", values)

    assert done.returncode == 0, done.stdout + done.stderr


def test_one_set_of_values_differs_from_every_default() -> None:
    other = yaml.safe_load((CHART / "ci" / "03-everything-values.yaml").read_text())
    stays = {"rbac.create", "serviceAccount.create", "networkPolicy.enabled", "dashboards.enabled", "crds.install"}
    stays |= {"monitoring.operator", "monitoring.jobs", "monitoring.alerts"}

    defaults, changed = leaves(VALUES), leaves(other)
    same = {path for path, value in defaults.items() if changed.get(path, value) == value}
    assert {path for path in same if not any(it.startswith(f"{path}.") for it in changed)} <= stays

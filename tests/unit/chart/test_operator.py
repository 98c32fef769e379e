"""The operator's own objects: what the process is told, what it may do, and that it is as restricted as its jobs."""

from typing import Any

import pytest

from charts import CHART, CI, HELMS, NAMESPACE, RELEASE, of_kind, rendered, the
from rlvr_api import contract
from rlvr_api.schema import CRD_FILE
from rlvr_operator.settings import PREFIX, Settings, read_settings
from workload_builders import broken_restrictions

SETS = [pytest.param(helm, values, id=f"{helm}-{values.stem}") for helm in HELMS for values in CI]
EVERYTHING = CHART / "ci" / "03-everything-values.yaml"
OF_THE_POD = {"metadata.namespace": NAMESPACE, "metadata.name": "a-pod", "spec.serviceAccountName": "an-account"}


def pod_of(workload: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = workload["spec"].get("template", workload)
    return found


def told(objects: tuple[dict[str, Any], ...]) -> Settings:
    """What the operator reads in its container."""
    container = pod_of(the(objects, "Deployment"))["spec"]["containers"][0]
    given = {
        it["name"]: it["value"] if "value" in it else OF_THE_POD[it["valueFrom"]["fieldRef"]["fieldPath"]]
        for it in container["env"]
    }
    return read_settings({name: value for name, value in given.items() if name.startswith(PREFIX)})


@pytest.mark.parametrize("helm", HELMS)
def test_without_values_the_operator_is_told_who_it_is_and_which_images_to_take(helm: str) -> None:
    assert told(rendered(helm)) == Settings(
        namespace=NAMESPACE,
        service_account="an-account",
        identity="a-pod",
        lease_name=RELEASE,
        trainer_image="rlvr-trainer:0.1.0",
        reward_image="rlvr-reward:0.1.0",
        engine_image="docker.io/vllm/vllm-openai:v0.32.0",
    )


@pytest.mark.parametrize("helm", HELMS)
def test_every_value_reaches_the_operator(helm: str) -> None:
    assert told(rendered(helm, "--values", EVERYTHING)) == Settings(
        namespace=NAMESPACE,
        service_account="an-account",
        identity="a-pod",
        lease_name=RELEASE,
        watch_namespaces=("team-a",),
        watch_nodes=False,
        trainer_image="registry.example.com/ml/a-trainer:1.2.3",
        reward_image="registry.example.com/ml/a-reward:1.2.3",
        engine_image="registry.example.com/vllm:1",
        cluster_domain="example.internal",
        monitoring_namespace="monitoring",
        log_level="DEBUG",
        workers=16,
        settle=0.5,
        resync=1200,
        progress_token_file="/tmp/token",
    )


@pytest.mark.parametrize(("helm", "values"), SETS)
def test_every_pod_of_the_chart_is_restricted_and_cannot_write_to_its_root(helm: str, values: Any) -> None:
    objects = rendered(helm, "--values", values)
    for workload in (the(objects, "Deployment"), the(objects, "Pod")):
        pod = pod_of(workload)
        assert list(broken_restrictions(pod)) == []
        assert all(it["securityContext"]["readOnlyRootFilesystem"] for it in pod["spec"]["containers"])


@pytest.mark.parametrize("helm", HELMS)
def test_the_definition_is_the_generated_one_and_stays_when_the_release_goes(helm: str) -> None:
    made = the(rendered(helm), "CustomResourceDefinition")

    assert made["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert (CHART / "files" / CRD_FILE.name).read_text() == CRD_FILE.read_text()
    assert made["spec"]["names"]["plural"] == contract.PLURAL
    gone = the(rendered(helm, "--set", "crds.keep=false"), "CustomResourceDefinition")
    assert gone["spec"] == made["spec"]
    assert "helm.sh/resource-policy" not in gone["metadata"].get("annotations", {})
    assert of_kind(rendered(helm, "--set", "crds.install=false"), "CustomResourceDefinition") == {}


@pytest.mark.parametrize("helm", HELMS)
def test_the_policy_lets_in_who_measures_and_out_what_is_needed(helm: str) -> None:
    spec = the(rendered(helm, "--values", EVERYTHING), "NetworkPolicy")["spec"]
    ports = [sorted(port["port"] for port in rule["ports"]) for rule in spec["egress"]]

    assert ports == [[53, 53], [8443], [contract.PORT_COORDINATOR]]
    assert spec["egress"][2]["to"][0]["podSelector"]["matchLabels"] == {contract.LABEL_ROLE: "learner"}
    assert [sorted(peer) for peer in spec["ingress"][0]["from"]] == [["podSelector"], ["namespaceSelector"]]


@pytest.mark.parametrize("helm", HELMS)
def test_objects_of_a_release_with_another_name_say_what_they_are(helm: str) -> None:
    names = {it["metadata"]["name"] for it in rendered(helm, "--name-template", "a")}

    assert names - {"rlvrjobs.rlvr.dev"} == {name for name in names if name.startswith("a-rlvr-operator")}

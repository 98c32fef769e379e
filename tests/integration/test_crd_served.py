"""The CRD as users of kubectl expect it, on a real API server."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from builders import a_job_dict
from kubernetes_server import Cluster
from rlvr_api import RLVRJob
from rlvr_api.contract import GROUP, PLURAL
from rlvr_api.schema import CRD_FILE
from served_jobs import ServedJobs, jobs_of

EXAMPLES: Final = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
ANNOTATION_LIMIT: Final = 262_144
STATUS: Final[dict[str, Any]] = {
    "phase": "Running",
    "attempt": 2,
    "restarts": 1,
    "roles": {"rollout": {"desired": 4, "ready": 3, "summary": "3/4", "selector": "rlvr.dev/job=test"}},
    "progress": {"step": 12, "totalSteps": 60, "reward": 0.625},
    "checkpoint": {"step": 10, "uri": "s3://bucket/step-10", "time": "2026-01-01T00:00:00Z"},
}


@pytest.fixture
def jobs(kubernetes: Cluster, namespace: str) -> Iterator[ServedJobs]:
    with jobs_of(kubernetes, namespace) as served:
        yield served


@pytest.mark.parametrize("side", ["client", "server"])
def test_the_crd_is_applied_and_applied_again(kubernetes: Cluster, tmp_path: Path, side: str) -> None:
    """Under another name: the session's own CRD stays."""
    group = f"{uuid.uuid4().hex[:8]}.{GROUP}"
    file = tmp_path / "crd.yaml"
    file.write_text(CRD_FILE.read_text().replace(f"{PLURAL}.{GROUP}", f"{PLURAL}.{group}").replace(GROUP, group))
    file.write_text(file.read_text().replace(f"{group[:8]}.{group}", group))
    apply = ("apply", "-f", str(file), f"--server-side={json.dumps(side == 'server')}")
    try:
        kubernetes.kubectl(*apply)
        kubernetes.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", f"{PLURAL}.{group}")
        before = kubernetes.get("crd", f"{PLURAL}.{group}")["metadata"]
        kubernetes.kubectl(*apply)
        after = kubernetes.get("crd", f"{PLURAL}.{group}")["metadata"]
    finally:
        kubernetes.kubectl("delete", "crd", f"{PLURAL}.{group}", "--ignore-not-found")

    assert before["generation"] == after["generation"]
    assert sum(map(len, before.get("annotations", {}).values())) < ANNOTATION_LIMIT / 2


def test_the_crd_is_established_without_a_complaint(kubernetes: Cluster) -> None:
    conditions = kubernetes.get("crd", f"{PLURAL}.{GROUP}")["status"]["conditions"]
    found = {condition["type"]: condition["status"] for condition in conditions}

    assert found == {"NamesAccepted": "True", "Established": "True"}  # NonStructuralSchema would be a third


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_stored_as_our_own_types_read_it(jobs: ServedJobs, path: Path) -> None:
    manifest = yaml.safe_load(path.read_text())

    answer = jobs.create(manifest, fieldValidation="Strict")

    assert answer.is_accepted, answer.body
    stored = jobs.get(manifest["metadata"]["name"])
    local = RLVRJob.model_validate_json(json.dumps(manifest))
    assert RLVRJob.model_validate_json(json.dumps({**stored, "status": None})).spec == local.spec


@pytest.mark.parametrize("side", ["client", "server"])
def test_an_example_is_applied_and_applied_again(kubernetes: Cluster, namespace: str, side: str) -> None:
    apply = ("apply", "-n", namespace, "-f", str(EXAMPLES[0]), f"--server-side={json.dumps(side == 'server')}")

    kubernetes.kubectl(*apply)
    kubernetes.kubectl(*apply)

    assert kubernetes.get("rlvr", EXAMPLES[0].stem, "-n", namespace)["metadata"]["generation"] == 1


def test_what_is_left_out_is_filled_in_where_a_default_means_something(jobs: ServedJobs) -> None:
    jobs.create(a_job_dict())

    spec = jobs.get("test")["spec"]

    assert spec["limits"] == {"startupDeadlineSeconds": 1800, "hangTimeoutSeconds": 1800}
    assert spec["learner"]["backend"] == {"local": {}}
    assert spec["checkpoint"] == {"every": 10, "keep": 3, "resume": "auto"}
    assert spec["managedBy"] == "rlvr.dev/operator"
    assert spec["suspend"] is False
    assert spec["algorithm"] == {"preset": "dapo"}


def test_the_status_is_written_apart_from_the_spec(jobs: ServedJobs) -> None:
    jobs.create({**a_job_dict(), "status": STATUS})
    assert "status" not in jobs.get("test")

    both = {"status": STATUS, "spec": {"rollout": {"replicas": 9}}}
    assert jobs.merge("test", both, below="status").is_accepted

    job = jobs.get("test")
    assert job["status"] == STATUS
    assert (job["spec"]["rollout"]["replicas"], job["metadata"]["generation"]) == (1, 1)


def test_a_status_of_another_shape_is_refused(jobs: ServedJobs) -> None:
    jobs.create(a_job_dict())

    answer = jobs.merge("test", {"status": {"phase": "Sleeping"}}, below="status")

    assert "supported values" in answer.complaints["status.phase"]


def test_rollouts_scale_like_a_deployment(kubernetes: Cluster, jobs: ServedJobs) -> None:
    jobs.create(a_job_dict())
    jobs.merge("test", {"status": STATUS}, below="status")

    kubernetes.kubectl("scale", "-n", jobs.namespace, "rlvr/test", "--replicas=4")

    scale = jobs.scale("test")
    assert scale["spec"] == {"replicas": 4}
    assert scale["status"] == {"replicas": 3, "selector": "rlvr.dev/job=test"}
    assert jobs.get("test")["spec"]["rollout"]["replicas"] == 4


def test_the_table_answers_at_a_glance(jobs: ServedJobs) -> None:
    jobs.create(a_job_dict(scheduling={"queueName": "research"}))
    jobs.merge("test", {"status": STATUS}, below="status")

    cells, priorities = jobs.table("test")

    age = cells.pop("Age")
    assert age.endswith("s")
    assert cells == {
        "Name": "test",
        "Phase": "Running",
        "Step": 12,
        "Reward": 0.625,
        "Rollouts": "3/4",
        "Restarts": 1,
        "Attempt": 2,
        "Queue": "research",
        "Checkpoint": 10,
    }
    assert {name for name, priority in priorities.items() if priority} == {"Attempt", "Queue", "Checkpoint"}


@pytest.mark.parametrize("word", ["rlvr", "rlvrjob", "all", "ml"])
def test_a_job_is_found_under_every_name(kubernetes: Cluster, jobs: ServedJobs, word: str) -> None:
    jobs.create(a_job_dict())

    assert f"rlvrjob.{GROUP}/test" in kubernetes.kubectl("get", word, "-n", jobs.namespace, "-o", "name")


def test_every_field_is_explained_in_the_document_that_kubectl_reads(kubernetes: Cluster) -> None:
    document = json.loads(kubernetes.kubectl("get", "--raw", f"/openapi/v3/apis/{GROUP}/v1alpha1"))
    (schema,) = (
        found
        for found in document["components"]["schemas"].values()
        if {"kind": "RLVRJob", "group": GROUP, "version": "v1alpha1"}
        in found.get("x-kubernetes-group-version-kind", [])
    )

    fields = dict(described({name: schema["properties"][name] for name in ("spec", "status")}))
    assert len(fields) > 150
    assert [path for path, description in fields.items() if not description] == []


def test_kubectl_explains_a_field(kubernetes: Cluster) -> None:
    text = kubernetes.kubectl("explain", "rlvr.spec.rollout.sampling.topP")

    assert "Nucleus sampling; below 1, log-probabilities are of the truncated distribution." in " ".join(text.split())


def described(properties: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Every field with its description."""
    for name, schema in properties.items():
        here = f"{path}.{name}".lstrip(".")
        yield here, schema.get("description", "")
        yield from described(schema.get("properties", {}), here)
        yield from described(schema.get("items", {}).get("properties", {}), f"{here}[]")

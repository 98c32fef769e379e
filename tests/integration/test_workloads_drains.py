"""Drains: the disruption budget of a job's rollouts, with the controller that keeps it."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from builders import a_job_dict
from kubernetes_server import EVERYTHING, ControlPlane, as_list, control_plane, wait_until
from rlvr_operator.observed import JobSeen
from rlvr_operator.workloads import children
from workload_builders import KIT, a_seen_job, all_pods

ROLLOUT = {"engine": "local", "replicas": 2, "sampling": {"maxTokens": 64}}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("drains"), EVERYTHING) as running:
        running.apply_crd()
        running.add_nodes(1)
        yield running


def a_served_job(plane: ControlPlane) -> JobSeen:
    """A job that the API server knows, with children and running pods: its replicas are what a budget counts."""
    namespace = plane.make_namespace(security="restricted")
    manifest = a_job_dict(rollout=ROLLOUT)
    manifest["metadata"] = {"name": "drained", "namespace": namespace}
    plane.kubectl("create", "-f", "-", stdin=json.dumps(manifest))
    uid = plane.get("rlvrjob", "drained", "-n", namespace)["metadata"]["uid"]
    job = replace(a_seen_job(name="drained", namespace=namespace, rollout=ROLLOUT), uid=uid)
    plane.apply(*children(job, KIT))
    plane.kubectl("create", "-f", "-", stdin=as_list(all_pods(job)))
    return job


def evict(plane: ControlPlane, job: JobSeen, name: str) -> str:
    """What a drain is told; empty when the pod goes."""
    metadata = {"name": f"{job.name}-{name}", "namespace": job.namespace}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    path = f"/api/v1/namespaces/{job.namespace}/pods/{metadata['name']}/eviction"
    return plane.try_kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction)).stderr


def test_a_drain_takes_one_rollout_at_a_time_and_any_learner(plane: ControlPlane) -> None:
    job = a_served_job(plane)
    budget = ("poddisruptionbudget", "drained-rollout", "-n", job.namespace)
    wait_until(lambda: plane.get(*budget).get("status", {}).get("currentHealthy") == 2, "both rollouts are ready")

    assert plane.get(*budget)["status"]["expectedPods"] == 2
    assert evict(plane, job, "rollout-0-a0") == ""
    assert "disruption budget" in evict(plane, job, "rollout-1-a0")
    assert evict(plane, job, "learner-0-a0") == ""
    assert evict(plane, job, "reward-0-a0") == ""

"""Gangs by Kubernetes' own scheduler: a gang that does not fit waits whole, one that fits runs."""

from collections.abc import Iterator
from typing import Any

import pytest

from kubernetes_server import EVERYTHING, ControlPlane, as_list, control_plane, wait_until
from rlvr_operator.observed import JobSeen
from rlvr_operator.plan import Manifest
from rlvr_operator.workloads import Member, children, pod
from workload_builders import KIT, a_vllm_job, all_pods

GPUS = 4
"""All that the only node has."""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("gangs"), EVERYTHING, gang=True) as running:
        running.apply_crd()
        running.add_nodes(1, gpus=GPUS)
        yield running


@pytest.fixture
def room(plane: ControlPlane) -> Iterator[str]:
    """A namespace whose pods are gone, and with them their GPUs, when the test is over."""
    name = plane.make_namespace(security="restricted")
    yield name
    plane.kubectl("delete", "pods", "--all", "--force", "-n", name)


def a_gang_job(plane: ControlPlane, namespace: str, *, gpus: int, name: str = "sums", replicas: int = 1) -> JobSeen:
    """A learner with `gpus` and rollouts with one each; children applied, with an owner that is there."""
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-owner", "namespace": namespace}}
    plane.apply(owner)
    uid = plane.get("configmap", f"{name}-owner", "-n", namespace)["metadata"]["uid"]
    job = a_vllm_job(
        name=name,
        namespace=namespace,
        uid=uid,
        rollout={"replicas": replicas},
        learner={"gpusPerNode": gpus, "backend": {"deepspeed": {}}},
        scheduling={"gang": "native"},
    )
    plane.apply(*(unowned(child) for child in children(job, KIT)))
    return job


def unowned(manifest: Manifest) -> Manifest:
    """Without its owner: there is no job here, and the garbage collector would act on that."""
    metadata = {key: value for key, value in manifest["metadata"].items() if key != "ownerReferences"}
    return {**manifest, "metadata": metadata}


def create(plane: ControlPlane, manifests: list[Manifest]) -> None:
    plane.kubectl("create", "-f", "-", stdin=as_list([unowned(manifest) for manifest in manifests]))


def phases(plane: ControlPlane, job: JobSeen) -> dict[str, str]:
    found = plane.get("pods", "-n", job.namespace, "-l", f"rlvr.dev/job={job.name}")["items"]
    return {item["metadata"]["name"].removeprefix(f"{job.name}-"): item["status"]["phase"] for item in found}


def conditions(plane: ControlPlane, job: JobSeen) -> dict[str, Any]:
    (name,) = (it["metadata"]["name"] for it in children(job, KIT) if it["kind"] == "PodGroup")
    group = plane.get("podgroups.scheduling.k8s.io", name, "-n", job.namespace)
    return {item["type"]: item for item in group.get("status", {}).get("conditions", [])}


def is_running(plane: ControlPlane, job: JobSeen, *names: str) -> bool:
    found = phases(plane, job)
    return all(found.get(name) == "Running" for name in names)


def test_a_gang_that_does_not_fit_waits_whole_and_one_that_fits_goes_by(plane: ControlPlane, room: str) -> None:
    large = a_gang_job(plane, room, name="large", gpus=4)
    create(plane, all_pods(large))
    wait_until(lambda: "PodGroupScheduled" in conditions(plane, large), "the scheduler has spoken")
    small = a_gang_job(plane, room, name="small", gpus=3)
    create(plane, all_pods(small))

    wait_until(lambda: is_running(plane, small, "learner-0-a0", "rollout-0-a0", "reward-0-a0"), "the small gang runs")

    assert conditions(plane, large)["PodGroupScheduled"]["status"] == "False"
    assert phases(plane, large) == {"learner-0-a0": "Pending", "rollout-0-a0": "Pending", "reward-0-a0": "Pending"}


def test_a_gang_waits_for_its_last_member(plane: ControlPlane, room: str) -> None:
    job = a_gang_job(plane, room, gpus=1)
    *most, last = all_pods(job)
    create(plane, most)
    alone = a_gang_job(plane, room, name="other", gpus=1)
    create(plane, all_pods(alone))
    wait_until(lambda: is_running(plane, alone, "learner-0-a0"), "the scheduler has had its turn")
    assert set(phases(plane, job).values()) == {"Pending"}

    create(plane, [last])

    wait_until(lambda: is_running(plane, job, "learner-0-a0", "rollout-0-a0", "reward-0-a0"), "the gang runs")


def test_rollouts_beside_the_gang_take_what_is_left(plane: ControlPlane, room: str) -> None:
    job = a_gang_job(plane, room, gpus=2, replicas=3)
    gang, beside = [], []
    for manifest in all_pods(job):
        (gang if "schedulingGroup" in manifest["spec"] else beside).append(manifest)
    create(plane, gang)
    wait_until(lambda: is_running(plane, job, "learner-0-a0", "rollout-0-a0", "reward-0-a0"), "the gang runs")

    create(plane, beside)

    wait_until(lambda: sorted(phases(plane, job).values()) == ["Pending", *["Running"] * 4], "one of two finds a GPU")


def test_a_new_attempt_and_a_replacement_join_the_gang_that_runs(plane: ControlPlane, room: str) -> None:
    job = a_gang_job(plane, room, gpus=1)
    create(plane, all_pods(job))
    wait_until(lambda: is_running(plane, job, "learner-0-a0", "rollout-0-a0", "reward-0-a0"), "the gang runs")

    plane.kubectl("delete", "pod", "sums-learner-0-a0", "sums-reward-0-a0", "-n", room)
    create(plane, [pod(job, KIT, Member(role="learner", index=0, attempt=1))])
    create(plane, [pod(job, KIT, Member(role="reward", index=0, attempt=1))])

    wait_until(lambda: is_running(plane, job, "learner-0-a1", "rollout-0-a0", "reward-0-a1"), "the gang is whole again")


def test_a_suspended_gang_starts_again_together(plane: ControlPlane, room: str) -> None:
    job = a_gang_job(plane, room, gpus=3)
    create(plane, all_pods(job))
    wait_until(lambda: is_running(plane, job, "learner-0-a0", "rollout-0-a0", "reward-0-a0"), "the gang runs")
    plane.kubectl("delete", "pods", "--all", "-n", room)

    create(plane, all_pods(job))

    wait_until(lambda: is_running(plane, job, "learner-0-a0", "rollout-0-a0", "reward-0-a0"), "it runs again")

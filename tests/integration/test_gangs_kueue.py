"""A gang in a real Kueue: let in whole, kept out whole, preempted whole, let in again.

Needs a cluster with Kueue and kwok, named by RLVR_TEST_KUEUE_KUBECONFIG.  The pods live on a fake node; when they are
gone, the test says what a kubelet would say about their end.
"""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kubernetes_server import Cluster, as_list, wait_until
from rlvr_operator.observed import JobSeen
from rlvr_operator.plan import Manifest
from rlvr_operator.workloads import Member, gang_remains, pod
from rlvr_operator.workloads.gangs import gang_of
from rlvr_operator.workloads.gangs.kueue import APIS
from workload_builders import KIT, a_seen_job, all_pods

NODE = "fake-kueue"
GANG = ("learner-0-a0", "rollout-0-a0", "reward-0-a0")
HIGH = "rlvr-test-high"
SECONDS = 30.0


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    """The given cluster, with room on a fake node and a high priority."""
    given = os.environ.get("RLVR_TEST_KUEUE_KUBECONFIG")
    if not given:
        pytest.skip("no Kueue: set RLVR_TEST_KUEUE_KUBECONFIG to a cluster with Kueue and kwok")
    found = Cluster(kubeconfig=Path(given), kubectl_path=shutil.which("kubectl") or "kubectl")
    if not set(APIS).intersection(found.kubectl("api-versions").split()):
        pytest.skip("no Kueue in the cluster of RLVR_TEST_KUEUE_KUBECONFIG: install it, with its pod integration")
    room = {"cpu": "100", "memory": "1Ti", "pods": "1000"}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
    node["metadata"] |= {"annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": {"kubernetes.io/hostname": NODE}}  # type: ignore[operator]
    node["status"] = {"capacity": room, "allocatable": room}  # type: ignore[assignment]
    found.try_kubectl("create", "-f", "-", stdin=json.dumps(node))
    priority = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": HIGH},
        "value": 1000,
    }
    found.apply(priority)
    return found


@pytest.fixture
def room(cluster: Cluster) -> Iterator[str]:
    """A namespace whose queue has room for one gang (1,550 millicores) and a half."""
    name = cluster.make_namespace(security="restricted")
    api = next(api for api in APIS if api in cluster.kubectl("api-versions").split())
    cluster.apply(*a_queue(name, api))
    yield name
    cluster.try_kubectl("delete", "workloads.kueue.x-k8s.io", "--all", "--wait=false", "-n", name)
    cluster.try_kubectl("delete", "pods", "--all", "--force", "--wait=false", "-n", name)
    cluster.try_kubectl("delete", "clusterqueue", name, "--wait=false")


def a_queue(name: str, api: str) -> tuple[dict[str, Any], ...]:
    quotas = [{"name": "cpu", "nominalQuota": "2400m"}, {"name": "memory", "nominalQuota": "1Ti"}]
    group = {"coveredResources": ["cpu", "memory"], "flavors": [{"name": name, "resources": quotas}]}
    queue = {
        "namespaceSelector": {},
        "resourceGroups": [group],
        "preemption": {"withinClusterQueue": "LowerPriority"},
    }
    return (
        {"apiVersion": api, "kind": "ResourceFlavor", "metadata": {"name": name}},
        {"apiVersion": api, "kind": "ClusterQueue", "metadata": {"name": name}, "spec": queue},
        {
            "apiVersion": api,
            "kind": "LocalQueue",
            "metadata": {"name": "jobs", "namespace": name},
            "spec": {"clusterQueue": name},
        },
    )


def a_queued_job(namespace: str, name: str, *, replicas: int = 1, priority: str = "") -> JobSeen:
    return a_seen_job(
        name=name,
        namespace=namespace,
        rollout={"engine": "local", "replicas": replicas, "sampling": {"maxTokens": 64}},
        scheduling={
            "gang": "kueue",
            "queueName": "jobs",
            **({"priorityClassName": priority} if priority else {}),
        },
    )


def create(cluster: Cluster, *manifests: Manifest) -> None:
    """Without owners, which are not there; on the fake node, once Kueue lets them."""
    for manifest in manifests:
        del manifest["metadata"]["ownerReferences"]
        manifest["spec"]["nodeSelector"] = {"kubernetes.io/hostname": NODE}
    cluster.kubectl("create", "-f", "-", stdin=as_list(manifests))


def pods(cluster: Cluster, job: JobSeen) -> dict[str, dict[str, Any]]:
    found = cluster.get("pods", "-n", job.namespace, "-l", f"rlvr.dev/job={job.name}")["items"]
    return {item["metadata"]["name"].removeprefix(f"{job.name}-"): item for item in found}


def states(cluster: Cluster, job: JobSeen) -> dict[str, str]:
    return {name: state(item) for name, item in pods(cluster, job).items()}


def state(item: dict[str, Any]) -> str:
    if "deletionTimestamp" in item["metadata"]:
        return "Terminating"
    return "Gated" if item["spec"].get("schedulingGates") else str(item["status"]["phase"])


def are(cluster: Cluster, job: JobSeen, wanted: str, *names: str) -> None:
    wait_until(
        lambda: {name: states(cluster, job).get(name) for name in names} == dict.fromkeys(names, wanted),
        f"{', '.join(names)} of {job.name} are {wanted}",
        SECONDS,
    )


def are_gone(cluster: Cluster, job: JobSeen, *names: str) -> None:
    wait_until(lambda: not set(names) & set(states(cluster, job)), f"{names} of {job.name} are gone", SECONDS)


def end(cluster: Cluster, job: JobSeen, *names: str) -> None:
    """What a kubelet says of a pod that was asked to stop and did."""
    for name in names:
        patch = json.dumps({"status": {"phase": "Failed"}})
        what = ("pod", f"{job.name}-{name}", "-n", job.namespace)
        cluster.try_kubectl("patch", *what, "--subresource=status", "--type=merge", "-p", patch)


def delete(cluster: Cluster, job: JobSeen, *names: str) -> None:
    cluster.kubectl("delete", "pod", "--wait=false", "-n", job.namespace, *(f"{job.name}-{name}" for name in names))
    end(cluster, job, *names)


def conditions(cluster: Cluster, job: JobSeen) -> dict[str, dict[str, Any]]:
    """Of the gang's Workload, once Kueue has made it."""
    found = cluster.get("workloads.kueue.x-k8s.io", "-n", job.namespace)["items"]
    mine = [item for item in found if item["metadata"]["name"] == gang_of(job).name]
    return {item["type"]: item for workload in mine for item in workload.get("status", {}).get("conditions", [])}


def let_go(cluster: Cluster, job: JobSeen) -> None:
    """What the operator deletes when nothing of the job is to run any more."""
    api = next(api for api in APIS if api in cluster.kubectl("api-versions").split())
    for remains in gang_remains(job, replace(KIT, gang_apis=frozenset({api}))):
        cluster.kubectl("delete", f"{remains.kind.lower()}s.kueue.x-k8s.io", remains.name, "-n", job.namespace)


def test_a_gang_is_let_in_whole_and_the_next_one_waits_whole(cluster: Cluster, room: str) -> None:
    first, second = a_queued_job(room, "first"), a_queued_job(room, "second")
    create(cluster, *all_pods(first))
    are(cluster, first, "Running", *GANG)

    create(cluster, *all_pods(second))
    wait_until(lambda: "QuotaReserved" in conditions(cluster, second), "Kueue has spoken", SECONDS)

    assert set(states(cluster, second).values()) == {"Gated"}
    assert "insufficient unused quota for cpu" in conditions(cluster, second)["QuotaReserved"]["message"]


def test_a_gang_waits_for_its_last_member(cluster: Cluster, room: str) -> None:
    job = a_queued_job(room, "late")
    *most, last = all_pods(job)
    create(cluster, *most)
    other = a_queued_job(room, "other")
    create(cluster, *all_pods(other))
    are(cluster, other, "Running", *GANG)
    assert set(states(cluster, job).values()) == {"Gated"}

    delete(cluster, other, *GANG)
    let_go(cluster, other)
    create(cluster, last)

    are(cluster, job, "Running", *GANG)


def test_rollouts_beside_the_gang_are_admitted_one_by_one(cluster: Cluster, room: str) -> None:
    job = a_queued_job(room, "wide", replicas=3)
    create(cluster, *(manifest for manifest in all_pods(job) if is_grouped(manifest)))
    are(cluster, job, "Running", *GANG)

    create(cluster, *(manifest for manifest in all_pods(job) if not is_grouped(manifest)))

    wait_until(lambda: sorted(states(cluster, job).values()) == ["Gated", *["Running"] * 4], "one of two has quota")


def is_grouped(manifest: Manifest) -> bool:
    return "kueue.x-k8s.io/pod-group-name" in manifest["metadata"]["labels"]


def test_a_new_attempt_takes_the_place_of_the_old_one(cluster: Cluster, room: str) -> None:
    job, waiting = a_queued_job(room, "again"), a_queued_job(room, "waiting")
    create(cluster, *all_pods(job))
    are(cluster, job, "Running", *GANG)
    create(cluster, *all_pods(waiting))

    end(cluster, job, "learner-0-a0")
    delete(cluster, job, "learner-0-a0")
    are(cluster, job, "Terminating", "learner-0-a0")
    create(cluster, pod(job, KIT, Member(role="learner", index=0, attempt=1)))

    are(cluster, job, "Running", "learner-0-a1", "rollout-0-a0", "reward-0-a0")
    are_gone(cluster, job, "learner-0-a0")
    assert set(states(cluster, waiting).values()) == {"Gated"}


def test_a_gang_is_preempted_whole_and_let_in_again(cluster: Cluster, room: str) -> None:
    low, high = a_queued_job(room, "low"), a_queued_job(room, "high", priority=HIGH)
    create(cluster, *all_pods(low))
    are(cluster, low, "Running", *GANG)

    create(cluster, *all_pods(high))
    are(cluster, low, "Terminating", *GANG)
    end(cluster, low, *GANG)
    are(cluster, high, "Running", *GANG)
    create(cluster, *again(low))
    are_gone(cluster, low, *GANG)
    are(cluster, low, "Gated", "learner-0-a1", "rollout-0-a1", "reward-0-a1")
    delete(cluster, high, *GANG)
    let_go(cluster, high)

    are(cluster, low, "Running", "learner-0-a1", "rollout-0-a1", "reward-0-a1")


def again(job: JobSeen) -> list[Manifest]:
    roles: tuple[Any, ...] = ("learner", "rollout", "reward")
    return [pod(job, KIT, Member(role=role, index=0, attempt=1)) for role in roles]


def test_ended_pods_stay_until_the_gang_is_let_go(cluster: Cluster, room: str) -> None:
    job = a_queued_job(room, "over")
    create(cluster, *all_pods(job))
    are(cluster, job, "Running", *GANG)

    delete(cluster, job, *GANG)
    are(cluster, job, "Terminating", *GANG)
    let_go(cluster, job)

    are_gone(cluster, job, *GANG)


def test_a_gang_that_never_ran_can_be_let_go(cluster: Cluster, room: str) -> None:
    first, second = a_queued_job(room, "first"), a_queued_job(room, "second")
    create(cluster, *all_pods(first))
    are(cluster, first, "Running", *GANG)
    create(cluster, *all_pods(second))
    wait_until(lambda: "QuotaReserved" in conditions(cluster, second), "Kueue has spoken", SECONDS)

    cluster.kubectl("delete", "pods", "--wait=false", "-n", room, "-l", "rlvr.dev/job=second")
    let_go(cluster, second)

    are_gone(cluster, second, *GANG)
    assert set(states(cluster, first).values()) == {"Running"}


def test_a_suspended_job_comes_back_as_the_same_gang(cluster: Cluster, room: str) -> None:
    job = a_queued_job(room, "back")
    create(cluster, *all_pods(job))
    are(cluster, job, "Running", *GANG)
    delete(cluster, job, *GANG)
    let_go(cluster, job)
    are_gone(cluster, job, *GANG)

    create(cluster, *again(job))

    are(cluster, job, "Running", "learner-0-a1", "rollout-0-a1", "reward-0-a1")

"""Objects of somebody else that have a name we need, and gang APIs that come later, on a real API server."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from kubernetes_server import ControlPlane
from live_jobs import LiveJob
from operator_process import operated_plane

GANGS = "scheduling.x-k8s.io"
OURS = {
    "ConfigMap": {"apiVersion": "v1", "data": {"theirs": "yes"}},
    "Service": {"apiVersion": "v1", "spec": {"ports": [{"port": 80}], "selector": {"app": "web"}}},
    "NetworkPolicy": {"apiVersion": "networking.k8s.io/v1", "spec": {"podSelector": {"matchLabels": {"app": "web"}}}},
    "Pod": {"apiVersion": "v1", "spec": {"containers": [{"name": "web", "image": "web:1"}]}},
}
NAMES = {"Pod": "sums-learner-0-a0"}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with operated_plane(tmp_path_factory.mktemp("neighbours"), GANG_SEARCH=1) as made:
        yield made


def somebodys(plane: ControlPlane, kind: str, home: str) -> dict[str, Any]:
    """An object of our name that nobody controls, as the server has it."""
    name = NAMES.get(kind, "sums")
    manifest = {**OURS[kind], "kind": kind, "metadata": {"name": name, "namespace": home}}
    plane.kubectl("create", "-f", "-", stdin=json.dumps(manifest))
    return {"kind": kind, "name": name, "uid": seen(plane, kind, name, home)["metadata"]["uid"]}


def seen(plane: ControlPlane, kind: str, name: str, home: str) -> dict[str, Any]:
    return plane.get(kind.lower(), name, "-n", home, "--show-managed-fields")


@pytest.mark.parametrize("kind", OURS)
def test_somebodys_object_is_not_touched_and_the_job_says_whose_name_it_needs(plane: ControlPlane, kind: str) -> None:
    job = LiveJob(plane, suspend=True).reaches("Suspended")
    theirs = somebodys(plane, kind, job.home)
    before = seen(plane, kind, theirs["name"], job.home)
    job.edit(suspend=False)

    job.waits(lambda: job.condition("Scheduled").get("reason") == "NameTaken", "the name is taken")
    assert f"{kind} {theirs['name']} is there already, has no controller and is left alone" in job.status()["message"]
    after = seen(plane, kind, theirs["name"], job.home)
    assert after["metadata"]["uid"] == theirs["uid"]
    assert {it["manager"] for it in after["metadata"]["managedFields"]}.isdisjoint({"rlvr-operator"})
    assert kind == "Pod" or (after.get("spec"), after.get("data")) == (before.get("spec"), before.get("data"))
    assert kind == "Pod" or not plane.get("pods", "-n", job.home)["items"], "no pod beside a wall that is not ours"
    job.waits(lambda: "NameTaken" in job.reasons(), "an event tells")


def test_the_job_goes_on_when_the_name_is_free_and_somebodys_object_survives_the_job(plane: ControlPlane) -> None:
    job = LiveJob(plane, suspend=True).reaches("Suspended")
    somebodys(plane, "Service", job.home)
    job.edit(suspend=False)
    job.waits(lambda: job.condition("Scheduled").get("reason") == "NameTaken", "the name is taken")
    plane.kubectl("delete", "service", "sums", "-n", job.home)
    job.reaches("Running")

    other = LiveJob(plane, suspend=True).reaches("Suspended")
    theirs = somebodys(plane, "ConfigMap", other.home)
    other.edit(suspend=False)
    other.waits(lambda: other.condition("Scheduled").get("reason") == "NameTaken", "the name is taken")
    plane.kubectl("delete", "rlvrjob", "sums", "-n", other.home)
    assert seen(plane, "ConfigMap", "sums", other.home)["metadata"]["uid"] == theirs["uid"]


def test_what_a_deleted_job_of_the_name_left_behind_is_no_neighbour(plane: ControlPlane) -> None:
    """The garbage collector sleeps while a job of the same name comes."""
    job = LiveJob(plane).reaches("Running")
    manifest = plane.get("rlvrjob", "sums", "-n", job.home)
    old = seen(plane, "ConfigMap", "sums", job.home)["metadata"]["uid"]
    plane.kill("kube-controller-manager")
    try:
        plane.kubectl("delete", "rlvrjob", "sums", "-n", job.home)
        manifest["metadata"] = {"name": "sums", "namespace": job.home}
        plane.kubectl("create", "-f", "-", stdin=json.dumps(manifest | {"status": {}}))
        job.waits(lambda: seen_uid(plane, job.home) not in {"", old}, "the new job has its own")
    finally:
        plane.start("kube-controller-manager")
    job.reaches("Running")


def seen_uid(plane: ControlPlane, home: str) -> str:
    found = plane.try_kubectl("get", "configmap", "sums", "-n", home, "-o", "jsonpath={.metadata.uid}")
    return found.stdout


def gang_definition() -> dict[str, Any]:
    """What the coscheduling plug-in installs, as far as we use it."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"podgroups.{GANGS}",
            "annotations": {
                "api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/scheduler-plugins/pull/50"
            },
        },
        "spec": {
            "group": GANGS,
            "names": {"kind": "PodGroup", "plural": "podgroups", "singular": "podgroup"},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def test_a_job_waits_for_its_gang_api_and_starts_when_it_is_installed(plane: ControlPlane) -> None:
    job = LiveJob(plane, scheduling={"gang": "coscheduling"})
    job.waits(lambda: job.condition("Validated").get("status") == "False", "the API is missing")
    assert f"needs the API {GANGS}/v1alpha1" in job.status()["message"]
    assert not job.pods()

    plane.apply(gang_definition())
    job.reaches("Running")
    (group,) = plane.get(f"podgroups.{GANGS}", "-n", job.home)["items"]
    assert group["spec"] == {"minMember": 3}
    members = {pod["metadata"]["labels"].get(f"{GANGS}/pod-group") for pod in job.pods().values()}
    assert members == {group["metadata"]["name"]}


def test_groups_of_an_api_that_came_later_are_watched_like_any_child(
    plane: ControlPlane,
) -> None:
    plane.apply(gang_definition())
    job = LiveJob(plane, scheduling={"gang": "coscheduling"}).reaches("Running")
    plane.kubectl("delete", f"podgroups.{GANGS}", "--all", "-n", job.home)

    job.waits(lambda: len(plane.get(f"podgroups.{GANGS}", "-n", job.home)["items"]) == 1, "the group is there again")

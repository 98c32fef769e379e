"""What people do to a job that runs: each time it ends at its final step, every prompt trained or dropped once."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from e2e.cluster.conftest import install, uninstall
from e2e.cluster.jobs import ENDLESS, Team
from kubernetes_server import Cluster
from object_store import a_door, s3_environment

STEPS = 90
GPU = "/status/capacity/nvidia.com~1gpu"
pytestmark = pytest.mark.timeout(1500)


def finish(team: Team, folder: Path, *, steps: int = STEPS) -> None:
    team.wait_for_complete("sums")
    print(f"\n{team.prove_exactly_once('sums', folder, steps=steps)}")


def pods_of(team: Team) -> set[str]:
    return {it["metadata"]["uid"] for role in ("learner", "rollout", "reward") for it in team.pods("sums", role)}


def patch_gpus(cluster: Cluster, change: dict[str, Any]) -> None:
    node = cluster.get("nodes")["items"][0]["metadata"]["name"]
    cluster.kubectl("patch", "node", node, "--subresource=status", "--type=json", "-p", json.dumps([change]))


@contextmanager
def gpus(cluster: Cluster, count: int) -> Iterator[None]:
    """The first node has so many GPUs, as far as the scheduler knows."""
    patch_gpus(cluster, {"op": "add", "path": GPU, "value": str(count)})
    try:
        yield
    finally:
        patch_gpus(cluster, {"op": "remove", "path": GPU})


def test_a_job_that_asks_for_more_gpus_than_there_are_says_so_and_starts_when_there_are(
    team: Team, tmp_path: Path
) -> None:
    job = team.manifest("sums", steps=STEPS)
    containers = job["spec"]["rollout"]["template"]["spec"]["containers"]
    next(it for it in containers if it["name"] == "engine")["resources"]["limits"] = {"nvidia.com/gpu": "8"}

    def why() -> str:
        return str(team.status("sums").get("message", ""))

    with gpus(team.cluster, 4):
        team.apply(job)
        team.wait("sums", lambda: "Insufficient nvidia.com/gpu" in why(), "the status says what is lacking")
        assert team.condition("sums", "Scheduled")["status"] == "False"
        print(f"\n{why()}")
    with gpus(team.cluster, 8):
        finish(team, tmp_path)


def test_a_suspended_job_gives_everything_back_and_goes_on_where_it_was(team: Team, tmp_path: Path) -> None:
    team.apply(team.manifest("sums", steps=STEPS))
    team.wait_for_step("sums", 3)
    team.edit("sums", suspend=True)
    team.wait("sums", lambda: team.reason("sums", "Suspended") == "Suspended", "all pods have gone")
    saved = team.status("sums")["checkpoint"]["step"]
    assert team.kubectl("get", "pods", "-o", "name") == ""
    assert 0 < saved < STEPS

    team.edit("sums", suspend=False)
    finish(team, tmp_path)
    assert team.status("sums")["restarts"] == 0


def test_a_field_that_may_change_takes_effect_and_one_that_may_not_is_refused_with_the_way_out(
    team: Team, tmp_path: Path
) -> None:
    team.apply(team.manifest("sums", steps=ENDLESS))
    team.wait_for("sums", "Running")
    team.edit("sums", rollout={"replicas": 2})
    change = json.dumps({"spec": {"training": {"steps": 2}}})
    refused = team.cluster.try_kubectl("-n", team.namespace, "patch", "rlvrjob", "sums", "--type=merge", "-p", change)
    assert "training is fixed while the job runs: set suspend to true first, or make a new job" in refused.stderr

    team.wait("sums", lambda: team.summary("sums", "rollout") == "2/2", "a second rollout is ready")
    finish(team, tmp_path, steps=team.end_soon("sums", tmp_path))


def test_a_job_deleted_while_its_checkpoint_is_on_the_way_leaves_one_that_another_goes_on_from(
    team: Team, tmp_path: Path
) -> None:
    host = urlsplit(team.store.endpoint).hostname or ""
    with a_door(team.store.endpoint, host=host) as (endpoint, door):
        team.make_secret("door", s3_environment(endpoint))
        checkpoint = {"uri": team.uri("sums"), "secretRef": {"name": "door"}, "every": 3}
        job = team.manifest("sums", steps=STEPS, checkpoint=checkpoint)
        team.apply(job)
        team.wait_for_step("sums", 3)
        door.refusal = 503
        team.wait("sums", lambda: bool(door.num_refused), "an upload is refused", seconds=60)
        team.kubectl("delete", "rlvrjob", "sums", "--wait=false")
        refused = door.num_refused
        team.wait("sums", lambda: door.num_refused > refused, "the deleted job goes on saving", seconds=60)
        assert team.is_there("sums")
        door.refusal = None
        team.wait("sums", lambda: not team.is_there("sums"), "it lets go when it has saved", seconds=180)

        assert 3 <= team.fetch("sums", tmp_path / "saved") < STEPS
        team.apply(job)
        finish(team, tmp_path)


def test_the_operator_is_upgraded_while_a_job_runs(team: Team, tmp_path: Path) -> None:
    team.apply(team.manifest("sums", steps=ENDLESS))
    team.wait_for_step("sums", 3)
    before = pods_of(team)
    try:
        install(team.cluster, "logLevel=DEBUG")
        assert pods_of(team) == before
        assert (team.status("sums")["attempt"], team.status("sums")["restarts"]) == (0, 0)
        finish(team, tmp_path, steps=team.end_soon("sums", tmp_path))
    finally:
        install(team.cluster)


def test_a_job_trains_on_without_an_operator_and_the_next_one_goes_on_where_it_stood(
    team: Team, tmp_path: Path
) -> None:
    team.apply(team.manifest("sums", steps=ENDLESS))
    team.wait_for_step("sums", 3)
    before = pods_of(team)
    try:
        uninstall(team.cluster)
        told, saved = team.step("sums"), team.saved("sums")
        team.wait("sums", lambda: team.saved("sums") > saved + 5, "it saves further steps")
        assert team.step("sums") == told
    finally:
        install(team.cluster)
    team.wait_for_step("sums", saved + 5)
    assert pods_of(team) == before
    assert (team.status("sums")["attempt"], team.status("sums")["restarts"]) == (0, 0)
    finish(team, tmp_path, steps=team.end_soon("sums", tmp_path))

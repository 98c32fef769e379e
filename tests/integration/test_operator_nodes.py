"""Drains by real evictions, and nodes that fall silent: pods on fake nodes, everything else as in a cluster."""

from collections.abc import Iterator

import pytest

from kubernetes_server import ControlPlane
from live_jobs import LiveJob
from operator_process import operated_plane


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with operated_plane(tmp_path_factory.mktemp("nodes")) as made:
        yield made


def test_a_drained_learner_saves_and_the_next_attempt_costs_nothing(plane: ControlPlane) -> None:
    job = LiveJob(plane).reaches("Running")
    job.hold("sums-learner-0-a0")
    assert job.evict("sums-learner-0-a0") == ""

    job.waits(lambda: job.status().get("attempt") == 1, "the attempt is over")
    assert set(job.pods("learner")) == {"sums-learner-0-a0"}, "the next one waits until it has saved"
    job.hold("sums-learner-0-a0", is_held=False)
    job.reaches("Running")
    assert set(job.pods("learner")) == {"sums-learner-0-a1"}
    assert (job.status()["restarts"], len(job.status()["currentAttempt"]["freeRestarts"])) == (0, 1)
    assert "EvictionByEvictionAPI" in job.status()["currentAttempt"]["cause"]


def uids(job: LiveJob, role: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in job.pods(role).values()}


def test_a_drained_rollout_is_replaced_when_it_is_gone_and_the_learner_stays(plane: ControlPlane) -> None:
    job = LiveJob(plane).reaches("Running")
    before, learners = uids(job, "rollout"), uids(job, "learner")
    job.hold("sums-rollout-0-a0")
    assert job.evict("sums-rollout-0-a0") == ""
    job.waits(lambda: job.condition("RolloutsReady")["status"] == "False", "it is missed")
    assert uids(job, "rollout") == before, "it may be finishing what it was asked for"
    assert "EvictionByEvictionAPI" in job.condition("RolloutsReady")["message"]

    job.hold("sums-rollout-0-a0", is_held=False)
    job.reaches("Running")
    (successor,) = job.pods("rollout").values()
    assert successor["metadata"]["uid"] not in before
    assert successor["metadata"]["annotations"]["rlvr.dev/failures"] == "0"
    assert uids(job, "learner") == learners


def test_a_drain_takes_one_rollout_at_a_time(plane: ControlPlane) -> None:
    job = LiveJob(plane, rollout={"replicas": 2})
    budget = ("pdb", "sums-rollout", "-n", job.home)
    job.waits(lambda: plane.try_kubectl("get", *budget).returncode == 0, "there is a budget")
    job.waits(lambda: plane.get(*budget).get("status", {}).get("disruptionsAllowed") == 1, "both rollouts are counted")
    for pod in ("sums-rollout-0-a0", "sums-rollout-1-a0"):
        job.hold(pod)

    assert job.evict("sums-rollout-0-a0") == ""
    assert "disruption budget" in job.evict("sums-rollout-1-a0")


def test_pods_on_silent_nodes_are_given_up_and_removed_by_force_unless_that_is_forbidden(plane: ControlPlane) -> None:
    """The last test here: no node says a word after it."""
    job, stuck, kept = (LiveJob(plane).reaches("Running") for _ in range(3))
    plane.kubectl("annotate", "rlvrjob", "sums", "-n", kept.home, "rlvr.dev/never-force-delete=true")
    rewards = {each: uids(each, "reward") for each in (stuck, kept)}
    plane.kill("kwok")
    for each in (stuck, kept):
        plane.kubectl("delete", "pod", "sums-reward-0-a0", "-n", each.home, "--grace-period=1", "--wait=false")

    stuck.waits(lambda: uids(stuck, "reward").isdisjoint(rewards[stuck]), "what is stuck is removed", 150)
    job.waits(lambda: job.status().get("attempt") == 1, "the learner's attempt is given up", 150)
    assert uids(kept, "reward") == rewards[kept]
    assert job.status()["restarts"] == 0
    assert "is lost" in job.status()["currentAttempt"]["cause"]

"""Rows of docs/concepts/failure-modes.md on a real API server: fake nodes run the pods, tests write as kubelets would.

More rows are in test_operator_{failures,nodes,coordinators,neighbours}.py; back-off, which takes minutes, is tested in
tests/unit/operator/decisions.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from kubernetes_server import EVERYTHING, ControlPlane, control_plane
from live_jobs import LiveJob, container_status
from operator_process import QUICK, OperatorProcess, make_operator_namespace, operator, wait_for_leader


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server with scheduler, garbage collector and three fake nodes."""
    with control_plane(tmp_path_factory.mktemp("lifecycle") / "plane", EVERYTHING) as made:
        made.apply_crd()
        made.add_nodes(3)
        make_operator_namespace(made)
        yield made


@pytest.fixture(scope="module")
def replica(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    with operator(plane, tmp_path_factory.mktemp("operator") / "log", **QUICK) as made:
        wait_for_leader(made)
        yield made


def test_a_failed_rank_restarts_the_learner_and_leaves_the_rollouts(
    plane: ControlPlane, replica: OperatorProcess
) -> None:
    job = LiveJob(plane).reaches("Running")
    rollouts = {name: pod["metadata"]["uid"] for name, pod in job.pods("rollout").items()}
    job.end("sums-learner-0-a0", 1, message="NCCL time-out")

    job.waits(lambda: set(job.pods("learner")) == {"sums-learner-0-a1"}, "the next attempt is there")
    job.reaches("Running")
    assert (job.status()["attempt"], job.status()["restarts"]) == (1, 1)
    assert job.status()["currentAttempt"]["cause"].endswith("NCCL time-out")
    assert {name: pod["metadata"]["uid"] for name, pod in job.pods("rollout").items()} == rollouts


def test_attempts_without_a_newer_checkpoint_stop_the_job(plane: ControlPlane, replica: OperatorProcess) -> None:
    job = LiveJob(plane).reaches("Running")
    job.end("sums-learner-0-a0", 1)
    job.waits(lambda: "sums-learner-0-a1" in job.pods(), "the next attempt is there")
    job.reaches("Running").end("sums-learner-0-a1", 1)

    job.reaches("Failed")
    assert job.condition("Failed")["reason"] == "NoProgress"


@pytest.mark.parametrize(
    ("code", "reason", "outcome"),
    [(64, "Error", "NonRetryableExit"), (75, "Error", None), (65, "Error", 1), (137, "OOMKilled", 1)],
)
def test_reserved_codes_mean_what_they_say(
    plane: ControlPlane, replica: OperatorProcess, code: int, reason: str, outcome: Any
) -> None:
    job = LiveJob(plane).reaches("Running")
    job.end("sums-learner-0-a0", code, reason=reason)

    if isinstance(outcome, str):
        job.reaches("Failed")
        assert job.condition("Failed")["reason"] == outcome
        assert set(job.pods("learner")) == {"sums-learner-0-a0"}
    else:
        job.waits(lambda: "sums-learner-0-a1" in job.pods(), "the next attempt is there")
        assert job.status()["restarts"] == (outcome or 0)


def test_a_learner_pod_that_vanishes_is_a_failed_attempt(plane: ControlPlane, replica: OperatorProcess) -> None:
    job = LiveJob(plane).reaches("Running")
    plane.kubectl("delete", "pod", "sums-learner-0-a0", "-n", job.home, "--force", "--grace-period=0")

    job.waits(lambda: "sums-learner-0-a1" in job.pods(), "the next attempt is there")
    assert job.status()["restarts"] == 1


def test_a_failed_rollout_is_replaced_alone(plane: ControlPlane, replica: OperatorProcess) -> None:
    job = LiveJob(plane).reaches("Running")
    learner = job.pods("learner")["sums-learner-0-a0"]["metadata"]["uid"]
    job.end("sums-rollout-0-a0", 1)

    job.waits(lambda: set(job.pods("rollout")) == {"sums-rollout-0-a1"}, "the successor is there alone")
    assert job.pods()["sums-rollout-0-a1"]["metadata"]["annotations"]["rlvr.dev/failures"] == "1"
    assert job.pods()["sums-learner-0-a0"]["metadata"]["uid"] == learner
    job.waits(lambda: job.condition("RolloutsReady")["status"] == "True", "rollouts are ready")


def test_rollouts_are_scaled_by_the_scale_subresource(plane: ControlPlane, replica: OperatorProcess) -> None:
    job = LiveJob(plane).reaches("Running")
    plane.kubectl("scale", "rlvrjob", "sums", "-n", job.home, "--replicas=3")
    job.waits(lambda: job.status()["roles"]["rollout"].get("summary") == "3/3", "three are ready")

    plane.kubectl("scale", "rlvrjob", "sums", "-n", job.home, "--replicas=1")
    job.waits(lambda: set(job.pods("rollout")) == {"sums-rollout-0-a0"}, "one is left, the first")


def test_suspending_gives_up_all_pods_and_resuming_is_the_next_attempt(
    plane: ControlPlane, replica: OperatorProcess
) -> None:
    job = LiveJob(plane).reaches("Running")
    job.edit(suspend=True)
    job.reaches("Suspended")
    job.waits(lambda: not job.pods(), "no pod is left")

    job.edit(suspend=False)
    job.reaches("Running")
    assert set(job.pods("learner")) == {"sums-learner-0-a1"}
    assert job.status()["restarts"] == 0


def test_a_complete_job_keeps_its_learner_pod_until_its_time_to_live_is_over(
    plane: ControlPlane, replica: OperatorProcess
) -> None:
    job = LiveJob(plane).reaches("Running")
    job.end("sums-learner-0-a0", 0)
    job.reaches("Succeeded")
    job.waits(lambda: set(job.pods()) == {"sums-learner-0-a0"}, "only the learner pod is left")

    job.edit(limits={"ttlSecondsAfterFinished": 1})
    job.waits(lambda: not job.is_there() and not job.pods(), "the job and its pods are gone")


def test_a_deleted_job_waits_for_its_learner_unless_told_not_to(plane: ControlPlane, replica: OperatorProcess) -> None:
    job = LiveJob(plane).reaches("Running")
    plane.kubectl("annotate", "pod", "sums-learner-0-a0", "-n", job.home, "test.rlvr.dev/hold=true")
    plane.kubectl("delete", "rlvrjob", "sums", "-n", job.home, "--wait=false")

    def is_saving() -> bool:
        return "deletionTimestamp" in job.pods()["sums-learner-0-a0"]["metadata"]

    job.waits(is_saving, "the learner is asked to end")
    time.sleep(2.0)
    assert job.is_there() and job.pods("rollout")
    assert "Service" in json.dumps(plane.get("services", "-n", job.home))

    plane.kubectl("annotate", "rlvrjob", "sums", "-n", job.home, "rlvr.dev/skip-last-checkpoint=true")
    job.waits(lambda: not job.is_there(), "the job is gone")
    plane.kubectl("annotate", "pod", "sums-learner-0-a0", "-n", job.home, "test.rlvr.dev/hold-")


def test_a_job_without_room_waits_in_the_schedulers_words(plane: ControlPlane, replica: OperatorProcess) -> None:
    job = LiveJob(plane, learner={"gpusPerNode": 1})

    job.waits(lambda: job.condition("Scheduled").get("reason") == "Unschedulable", "it is unschedulable")
    assert "Insufficient nvidia.com/gpu" in job.status()["message"]
    assert job.status()["phase"] == "Pending"


def test_an_image_that_cannot_be_pulled_is_named(plane: ControlPlane, replica: OperatorProcess) -> None:
    job = LiveJob(plane).reaches("Running")
    (container, *_) = job.pods()["sums-reward-0-a0"]["spec"]["containers"]
    waiting = {"reason": "InvalidImageName", "message": "couldn't parse image"}
    job.write(
        "sums-reward-0-a0",
        conditions=[{"type": "Ready", "status": "False"}],
        containerStatuses=[container_status(container, waiting=waiting)],
    )

    job.reaches("Failed")
    assert job.condition("Failed")["reason"] == "ImagePull"
    assert container["image"] in job.status()["message"] and "sums-reward-0-a0" in job.status()["message"]


def test_a_deadline_ends_the_job(plane: ControlPlane, replica: OperatorProcess) -> None:
    job = LiveJob(plane, limits={"activeDeadlineSeconds": 1})

    job.reaches("Failed")
    assert job.condition("Failed")["reason"] == "DeadlineExceeded"
    job.waits(lambda: not job.pods(), "nothing runs any more")


def test_another_controllers_job_is_not_touched(plane: ControlPlane, replica: OperatorProcess) -> None:
    job = LiveJob(plane, managedBy="example.com/other")
    time.sleep(2.0)

    assert not job.pods()
    assert job.status() == {}


def test_nobody_fell_over(replica: OperatorProcess) -> None:
    assert not replica.surprise()

"""The status is written when it says more than before, and no sooner."""

from typing import Any

import pytest

from operator_builders import BASE, NOW, a_cluster, a_failed_pod, a_job, a_pending_pod, a_pod, a_status, heard
from operator_world import FakeCluster
from rlvr_api import RLVRJobStatus
from rlvr_operator.observed import JobSeen
from rlvr_operator.reconcile import reconcile
from rlvr_operator.status import FIRST_WORD_SECONDS
from rlvr_operator.timestamps import rfc3339
from workload_builders import KIT


def a_running_cluster(**sections: Any) -> FakeCluster:
    cluster = FakeCluster(job=a_job(finalizers=(), **sections))
    cluster.settled()
    return cluster


def written(cluster: FakeCluster) -> RLVRJobStatus:
    assert cluster.job is not None
    return cluster.job.status


def writes(cluster: FakeCluster, *, seconds: int, every: int) -> int:
    """How often the status is written while the coordinator makes a step and is heard every so many seconds."""
    number = 0
    for moment in range(0, seconds, every):
        cluster.pass_time(every)
        cluster.progress = heard(step=moment, at=cluster.now)
        number += cluster.look().status is not None
    return number


def test_a_job_that_does_nothing_new_is_not_written() -> None:
    cluster = a_running_cluster()
    for _ in range(10):
        cluster.pass_time(600)
        assert cluster.look().is_empty


def test_a_coordinator_that_repeats_itself_is_not_written() -> None:
    cluster = a_running_cluster()
    cluster.progress = heard(step=5, at=cluster.now)
    cluster.settled()
    for _ in range(20):
        cluster.pass_time(30)
        cluster.progress = heard(step=5, at=cluster.now)
        assert cluster.look().is_empty


def test_mere_progress_is_written_three_times_a_minute_at_most() -> None:
    assert writes(a_running_cluster(), seconds=120, every=2) == 6


def test_more_than_progress_is_written_at_once() -> None:
    cluster = a_running_cluster()
    cluster.progress = heard(step=5, at=cluster.now)
    cluster.settled()
    cluster.progress = heard(step=6, at=cluster.now, error="403")

    plan = cluster.look()

    assert plan.status is not None and plan.status.progress is not None
    assert plan.status.progress.step == 6


def test_progress_and_checkpoint_are_what_the_coordinator_said() -> None:
    told = heard(step=12, checkpoint=10, reward=1 / 3, accuracy=0.5, policy="12-abc")
    status = reconcile(a_cluster(a_job(status=a_status()), *BASE, progress=told), KIT).status

    assert status is not None and status.progress is not None and status.checkpoint is not None
    assert (status.progress.step, status.progress.total_steps, status.progress.policy) == (12, 60, "12-abc")
    assert (status.progress.reward, status.progress.accuracy) == (0.333333, 0.5)
    assert status.progress.step_since == status.progress.updated_at == rfc3339(NOW)
    assert (status.checkpoint.step, status.checkpoint.time) == (10, rfc3339(NOW))


def test_the_time_of_a_step_stays_while_other_numbers_change() -> None:
    cluster = a_running_cluster()
    cluster.progress = heard(step=5, at=cluster.now)
    cluster.settled()
    cluster.pass_time(100)
    cluster.progress = heard(step=5, at=cluster.now, reward=0.5)
    cluster.settled()

    progress = written(cluster).progress
    assert progress is not None
    assert (progress.step_since, progress.updated_at) == (rfc3339(NOW), rfc3339(NOW + 100))


def test_an_attempt_that_knows_of_no_checkpoint_yet_does_not_hide_the_one_there_is() -> None:
    cluster = a_running_cluster()
    cluster.progress = heard(step=12, checkpoint=10, at=cluster.now)
    cluster.settled()
    cluster.pass_time(60)
    cluster.progress = heard(step=0, checkpoint=None, at=cluster.now)
    cluster.settled()

    checkpoint = written(cluster).checkpoint
    assert checkpoint is not None and checkpoint.step == 10


def test_roles_are_counted_for_people_and_for_autoscalers() -> None:
    rollout = {"engine": "local", "sampling": {"maxTokens": 64}, "replicas": 3}
    job = a_job(status=a_status(), rollout=rollout)
    pods = (
        a_pod("learner"),
        a_pod("reward"),
        a_pod("rollout", 0, attempt=2, failures=1),
        a_failed_pod("rollout", 1, failures=1),
    )

    status = reconcile(a_cluster(job, *pods), KIT).status

    assert status is not None
    counted = status.roles.rollout
    assert (counted.desired, counted.ready, counted.failed, counted.replaced) == (3, 1, 1, 2)
    assert counted.summary == "1/3"
    assert counted.selector == "rlvr.dev/job=sums,rlvr.dev/role=rollout"


def test_an_attempt_remembers_when_it_had_its_nodes_and_when_everything_was_ready() -> None:
    cluster = FakeCluster(job=a_job(finalizers=()))
    cluster.look()
    assert written(cluster).current_attempt.started_at is None
    cluster.pass_time(5)
    cluster.live()
    cluster.look()
    cluster.pass_time(5)
    cluster.look()

    assert written(cluster).current_attempt.started_at == rfc3339(NOW + 5)
    assert written(cluster).current_attempt.running_at == rfc3339(NOW + 5)
    assert (written(cluster).start_time, written(cluster).active_since) == (rfc3339(NOW), rfc3339(NOW + 5))


def test_the_generation_that_was_looked_at_is_written() -> None:
    cluster = a_running_cluster()
    cluster.change_spec(suspend=True)
    cluster.settled()

    assert written(cluster).observed_generation == 2


def a_starting_cluster(**sections: Any) -> FakeCluster:
    """Its pods have been made this moment; nodes have not begun with them."""
    cluster = FakeCluster(job=a_job(finalizers=(), **sections))
    cluster.look()
    return cluster


def test_a_start_that_takes_no_three_seconds_is_written_once() -> None:
    cluster = a_starting_cluster()
    cluster.pass_time(1)
    assert cluster.look().status is None
    cluster.live()
    plans = [cluster.look() for _ in range(4)]

    assert [plan.status is not None for plan in plans] == [True, False, False, False]
    assert written(cluster).phase == "Running"


def test_a_slow_start_is_told_after_three_seconds_and_the_job_is_looked_at_then() -> None:
    cluster = a_starting_cluster()
    cluster.pass_time(1)
    assert cluster.look().look_again_seconds == FIRST_WORD_SECONDS - 1
    cluster.pass_time(2)
    cluster.look()

    assert (written(cluster).phase, written(cluster).start_time) == ("Pending", rfc3339(NOW))


NO_ROOM = {"unschedulable": "0/3 nodes are available: insufficient nvidia.com/gpu"}


def test_trouble_is_told_at_once_however_young_the_job_is() -> None:
    cluster = a_starting_cluster()
    for pod in cluster.role("learner"):
        cluster.change(pod, **NO_ROOM)
    cluster.look()

    assert written(cluster).message is not None and "insufficient nvidia.com/gpu" in str(written(cluster).message)


@pytest.mark.parametrize(
    "job",
    [
        a_job(finalizers=(), suspend=True),
        a_job(finalizers=(), scheduling={"gang": "native"}),
        a_job(finalizers=(), status=a_status(attempt=1, started_at=None)),
    ],
    ids=["suspended", "without its gang API", "a later attempt"],
)
def test_what_is_no_plain_start_is_told_at_once(job: JobSeen) -> None:
    assert FakeCluster(job=job).look().status is not None


def test_a_change_after_the_first_word_is_told_at_once() -> None:
    cluster = a_starting_cluster()
    cluster.pass_time(3)
    cluster.look()
    cluster.live()
    cluster.look()

    assert written(cluster).phase == "Running"


def test_a_job_started_when_its_first_pod_was_made_although_that_is_told_later() -> None:
    cluster = a_starting_cluster()
    cluster.pass_time(2)
    cluster.live()
    cluster.look()

    assert written(cluster).start_time == rfc3339(NOW)


def test_words_of_any_length_fit_into_the_status() -> None:
    told = heard(attempt=1, policy="p" * 999, checkpoint=3, error="e" * 99_999)
    job = a_job(status=a_status(attempt=1, running_at=None, remembered={"cause": "Hung: " + "c" * 8000}))
    waiting = a_pending_pod("learner", attempt=1, unschedulable="u" * 99_999)
    status = reconcile(a_cluster(job, waiting, a_pod(), a_pod("reward"), progress=told), KIT).status

    assert status is not None
    RLVRJobStatus.model_validate_json(status.model_dump_json(by_alias=True))


def test_events_tell_what_changed_once() -> None:
    cluster = FakeCluster(job=a_job(finalizers=()))
    told = []
    for _ in range(6):
        told += [event.reason for event in cluster.look().events]
        cluster.live()
    (learner,) = cluster.role("learner")
    cluster.fail(learner, code=0)
    for _ in range(6):
        told += [event.reason for event in cluster.look().events]
        cluster.live()

    assert told == ["Running", "Complete"]

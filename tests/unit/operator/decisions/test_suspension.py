"""Suspending gives everything up in order; resuming is an attempt of its own that costs nothing."""

from dataclasses import replace
from typing import Any

from operator_builders import BASE, NOW, a_failed_pod, a_job, a_pod, a_status, facts, terminating
from operator_world import FakeCluster
from rlvr_operator.lifecycle.suspension import suspended
from rlvr_operator.observed import JobSeen
from rlvr_operator.workloads import GANG_APIS
from workload_builders import KIT

WITH_GANGS = replace(KIT, gang_apis=frozenset(GANG_APIS))


def a_running_cluster() -> FakeCluster:
    cluster = FakeCluster(job=a_job(finalizers=(), limits={"activeDeadlineSeconds": 1000}))
    cluster.settled()
    return cluster


def test_the_learner_is_told_first_while_rollouts_stay_for_the_step_that_it_finishes() -> None:
    intent = suspended(facts(a_job(suspend=True, status=a_status()), *BASE))

    assert intent is not None
    assert [(it.name, it.grace_seconds) for it in intent.delete] == [("sums-learner-0-a0", None)]


def test_nothing_else_is_deleted_while_the_learner_saves() -> None:
    intent = suspended(facts(a_job(suspend=True, status=a_status()), terminating(a_pod("learner")), a_pod("rollout")))

    assert intent is not None
    assert intent.delete == ()


def test_when_the_learner_is_gone_all_other_pods_go_failed_ones_too() -> None:
    rest = (a_pod("rollout"), a_pod("reward"), a_failed_pod("learner"))
    intent = suspended(facts(a_job(suspend=True, status=a_status()), *rest))

    assert intent is not None
    assert {it.name for it in intent.delete} == {pod.name for pod in rest}


def test_a_job_that_is_suspended_from_the_beginning_makes_nothing() -> None:
    cluster = FakeCluster(job=a_job(finalizers=(), suspend=True))
    cluster.settled()

    assert cluster.made == 0
    assert cluster.job is not None
    assert cluster.job.status.phase == "Suspended"
    assert cluster.job.status.message == "spec.suspend is true; set it to false to go on"

    cluster.change_spec(suspend=False)
    cluster.settled()
    assert cluster.job.status.attempt == 0
    assert {pod.attempt for pod in cluster.role("learner")} == {0}


def test_resuming_begins_the_next_attempt_and_does_not_count() -> None:
    cluster = a_running_cluster()
    cluster.change_spec(suspend=True)
    cluster.settled()
    assert cluster.pods == {}

    cluster.change_spec(suspend=False)
    cluster.settled()

    assert cluster.job is not None
    assert (cluster.job.status.attempt, cluster.job.status.restarts) == (1, 0)
    assert [pod.name for pod in cluster.role("learner")] == ["sums-learner-0-a1"]
    assert cluster.job.status.phase == "Running"
    answers = {it.type: (it.status, it.reason) for it in cluster.job.status.conditions}
    assert answers["Suspended"] == ("False", "Resumed")
    assert "Restarting" not in answers


def test_a_job_that_is_resumed_while_its_learner_still_saves_waits_for_it() -> None:
    cluster = a_running_cluster()
    cluster.change_spec(suspend=True)
    cluster.look()
    cluster.change_spec(suspend=False)
    cluster.settled(with_kubelets=False)

    assert [pod.name for pod in cluster.role("learner")] == ["sums-learner-0-a0"]
    cluster.live()
    cluster.settled()
    assert [pod.name for pod in cluster.role("learner")] == ["sums-learner-0-a1"]


def test_a_learner_that_fails_while_it_is_being_suspended_is_no_failure() -> None:
    cluster = a_running_cluster()
    cluster.change_spec(suspend=True)
    cluster.look()
    (learner,) = cluster.role("learner")
    cluster.fail(learner, code=143)
    cluster.settled()

    assert cluster.job is not None
    assert (cluster.job.status.phase, cluster.job.status.restarts) == ("Suspended", 0)


def test_suspended_time_does_not_count_towards_the_deadline() -> None:
    cluster = a_running_cluster()
    cluster.pass_time(400)
    cluster.change_spec(suspend=True)
    cluster.settled()
    cluster.pass_time(100_000)
    cluster.change_spec(suspend=False)
    cluster.settled()
    assert cluster.job is not None
    assert cluster.job.status.active_seconds == 400

    cluster.pass_time(599)
    cluster.settled()
    assert cluster.job.status.phase == "Running"
    cluster.pass_time(1)
    cluster.settled()
    assert cluster.job.status.phase == "Failed"


def test_the_condition_changes_once_when_suspending_and_once_when_resuming() -> None:
    cluster = a_running_cluster()
    cluster.change_spec(suspend=True)
    cluster.look()
    cluster.pass_time(20)
    cluster.live()
    cluster.settled()

    assert cluster.job is not None
    (condition,) = (it for it in cluster.job.status.conditions if it.type == "Suspended")
    assert (condition.status, condition.reason) == ("True", "Suspended")
    assert condition.last_transition_time == "1970-01-12T13:46:40Z"
    assert NOW == 1_000_000.0


def a_gang_of(rollouts: int, **sections: Any) -> JobSeen:
    rollout = {"engine": "local", "sampling": {"maxTokens": 64}, "replicas": 4, "min": rollouts}
    return a_job(finalizers=(), rollout=rollout, scheduling={"gang": "native"}, **sections)


def test_a_gang_that_is_taken_back_while_its_pods_end_is_waited_for_to_its_last_pod() -> None:
    cluster = FakeCluster(job=a_gang_of(1), kit=WITH_GANGS)
    cluster.settled()
    cluster.change_spec(suspend=True)
    cluster.look()
    cluster.change_spec(suspend=False, rollout=a_gang_of(2).spec.rollout)  # type: ignore[union-attr]
    cluster.settled(with_kubelets=False)

    assert cluster.job is not None
    (condition,) = (it for it in cluster.job.status.conditions if it.type == "Suspended")
    assert (condition.status, condition.reason) == ("True", "Resuming")
    assert "pods of the former gang have to go before the next is made" in condition.message
    assert {pod.attempt for pod in cluster.role("learner")} == {0}
    for _ in range(4):
        cluster.live()
        cluster.look()
    assert cluster.settled() <= 5
    assert (cluster.job.status.phase, cluster.job.status.attempt) == ("Running", 1)
    groups = [child for child in cluster.applied if child.startswith("PodGroup/")]
    assert groups == ["PodGroup/sums-job-uid-4"], "of the new size: a learner, two rollouts and a reward"


def test_without_a_gang_rollouts_are_kept_over_a_short_suspension() -> None:
    cluster = a_running_cluster()
    cluster.change_spec(suspend=True)
    cluster.look()
    rollouts = [pod.uid for pod in cluster.role("rollout")]
    cluster.change_spec(suspend=False)
    cluster.settled()

    assert [pod.uid for pod in cluster.role("rollout")] == rollouts

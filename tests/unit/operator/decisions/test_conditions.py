"""Conditions answer questions; their times change only with the answer."""

from dataclasses import replace

import pytest

from operator_builders import (
    BASE,
    LONG_AGO,
    NOW,
    a_condition,
    a_failed_pod,
    a_job,
    a_pending_pod,
    a_pod,
    a_pod_without_its_image,
    a_status,
    an_exit,
    an_unready_pod,
    facts,
    heard,
    terminating,
    without,
)
from operator_world import FakeCluster
from rlvr_api import Condition
from rlvr_operator.conditions import conditions, message_of, phase_of
from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.timestamps import rfc3339

TWO_OF_THREE = {"engine": "local", "sampling": {"maxTokens": 64}, "replicas": 3, "min": 2}


def answer(known: Facts, kind: str) -> Condition:
    return next(condition for condition in conditions(known, None) if condition.type == kind)


def phase(known: Facts) -> str:
    return phase_of(conditions(known, None))


def message(known: Facts) -> str | None:
    return message_of(known, conditions(known, None))


def test_a_job_whose_roles_are_ready_runs_and_has_nothing_to_explain() -> None:
    known = facts(a_job(status=a_status()), *BASE)

    assert (phase(known), message(known)) == ("Running", None)
    assert answer(known, "Running").status == "True"


@pytest.mark.parametrize("first", ["learner", "coordinator"])
def test_a_job_runs_until_learner_and_coordinator_have_both_ended(first: str) -> None:
    ending = an_unready_pod("learner", exits=(an_exit(0, container=first),))
    known = facts(a_job(status=a_status()), *without(BASE, "learner"), ending)

    assert (phase(known), message(known)) == ("Running", "all steps are trained; what was learnt is saved and examined")
    assert answer(known, "LearnerReady").status == "False"


def test_a_rank_that_fails_at_the_end_is_no_winding_up() -> None:
    ending = a_failed_pod("learner", exits=(an_exit(0), an_exit(1, container="coordinator")))

    assert phase(facts(a_job(status=a_status()), *without(BASE, "learner"), ending)) != "Running"


def test_the_time_of_an_answer_stays_while_it_is_the_same_and_changes_with_it() -> None:
    old = a_condition("RolloutsReady", "True", since=LONG_AGO)
    job = a_job(status=a_status(conditions=(old,)), generation=7)

    same, other = facts(job, *BASE), facts(job, *without(BASE, "rollout"))

    assert answer(same, "RolloutsReady").last_transition_time == rfc3339(LONG_AGO)
    assert answer(other, "RolloutsReady").last_transition_time == rfc3339(NOW)
    assert answer(other, "RolloutsReady").observed_generation == 7


def test_rollouts_are_ready_when_the_minimum_is_and_the_message_says_who_is_missing() -> None:
    job = a_job(status=a_status(), rollout=TWO_OF_THREE)
    ready = [a_pod("rollout", 0), a_pod("rollout", 1)]
    missing = a_pod_without_its_image("rollout", 2)

    enough = answer(facts(job, *without(BASE, "rollout"), *ready, missing), "RolloutsReady")
    short = answer(facts(job, *without(BASE, "rollout"), ready[0], missing), "RolloutsReady")

    assert enough.status == "True"
    assert enough.message == (
        "2 of 3 rollout pods are ready; pod sums-rollout-2-a0, container rollout: ImagePullBackOff of image "
        "registry.example/no:1: not found"
    )
    assert (short.status, short.reason) == ("False", "NotReady")


def test_a_pod_that_is_being_deleted_is_not_ready_whatever_it_says() -> None:
    leaving = replace(terminating(a_pod()), is_ready=True)

    assert answer(facts(a_job(status=a_status()), leaving), "RolloutsReady").status == "False"


def test_the_schedulers_own_words_say_why_a_job_waits() -> None:
    words = "0/12 nodes are available: 12 Insufficient nvidia.com/gpu."
    known = facts(a_job(), a_pending_pod("learner", unschedulable=words), a_pod(), a_pod("reward"))

    assert answer(known, "Scheduled").reason == "Unschedulable"
    assert (phase(known), message(known)) == ("Pending", f"pod sums-learner-0-a0 cannot be placed: {words}")


def test_a_job_with_nodes_but_unready_pods_is_starting() -> None:
    known = facts(a_job(status=a_status(running_at=None)), an_unready_pod("learner"), a_pod(), a_pod("reward"))

    assert phase(known) == "Starting"
    assert message(known) == "0 of 1 learner pods are ready; pod sums-learner-0-a0 on node node-0 is not ready yet"


def test_the_worst_pod_speaks_for_its_role() -> None:
    job = a_job(status=a_status(), rollout={**TWO_OF_THREE, "min": 3})
    pods = (an_unready_pod("rollout", 0), a_pending_pod("rollout", 1), a_failed_pod("rollout", 2, reason="OOMKilled"))

    told = answer(facts(job, *pods), "RolloutsReady").message

    assert (
        told == "0 of 3 rollout pods are ready; pod sums-rollout-2-a0: container rollout exited with code 1 (OOMKilled)"
    )


def test_a_restart_says_what_happened_and_what_is_waited_for() -> None:
    status = a_status(attempt=1, started_at=None, running_at=None, remembered={"cause": "Hung: no step"})
    known = facts(a_job(status=status), terminating(a_pod("learner")), a_pod(), a_pod("reward"))

    assert phase(known) == "Restarting"
    assert answer(known, "Restarting").reason == "Hung"
    assert message(known) == (
        "attempt 1 begins after Hung: no step; pod sums-learner-0-a0 of the attempt before has to go first"
    )


def test_a_restart_is_over_when_everything_is_ready_again() -> None:
    status = a_status(attempt=1, remembered={"cause": "Hung: no step"}, conditions=(a_condition("Restarting"),))
    known = facts(a_job(status=status), a_pod("learner", attempt=1), a_pod(), a_pod("reward"))

    assert phase(known) == "Running"
    assert answer(known, "Restarting").status == "False"


@pytest.mark.parametrize(
    ("told", "status", "reason"),
    [
        ({"checkpoint": 5}, "True", "Saved"),
        ({"checkpoint": 5, "error": "403 Forbidden"}, "False", "StoreFails"),
        ({"checkpoint": 5, "error": "403 Forbidden", "is_waiting": True}, "False", "TrainingWaits"),
    ],
)
def test_the_checkpoint_store_has_a_condition_of_its_own(told: dict[str, object], status: str, reason: str) -> None:
    known = facts(a_job(status=a_status()), *BASE, progress=heard(**told))  # type: ignore[arg-type]

    condition = answer(known, "CheckpointHealthy")

    assert (condition.status, condition.reason) == (status, reason)
    assert phase(known) == "Running"


def test_a_failing_store_never_fails_the_job() -> None:
    cluster = FakeCluster(job=a_job(finalizers=(), limits={"hangTimeoutSeconds": 60}))
    cluster.settled()
    for _ in range(20):
        cluster.progress = heard(step=5, at=cluster.now, is_waiting=True, error="503 Slow Down")
        cluster.settled()
        cluster.pass_time(60)

    assert cluster.job is not None
    assert (cluster.job.status.phase, cluster.job.status.attempt) == ("Running", 0)
    assert cluster.job.status.message == "training waits for the store: 503 Slow Down"
    assert cluster.job.status.checkpoint is not None
    assert cluster.job.status.checkpoint.last_error == "503 Slow Down"


def test_what_is_not_known_of_the_store_stays_as_it_was() -> None:
    old = a_condition("CheckpointHealthy", "False", reason="StoreFails")

    assert answer(facts(a_job(status=a_status(conditions=(old,))), *BASE), "CheckpointHealthy") == old.model_copy(
        update={"observed_generation": 1}
    )
    assert all(it.type != "CheckpointHealthy" for it in conditions(facts(a_job(status=a_status()), *BASE), None))


def test_reasons_are_words_that_kubernetes_accepts_and_types_are_unique() -> None:
    for known in (facts(a_job()), facts(a_job(status=a_status()), *BASE), facts(a_job(suspend=True))):
        answers = conditions(known, None)
        assert len({it.type for it in answers}) == len(answers)


def test_the_phase_is_read_by_nobody() -> None:
    calm = facts(a_job(status=a_status(phase="Failed")), *BASE)

    assert phase(calm) == "Running"

"""A job that is deleted: its learner saves first, and nobody waits for ever."""

from dataclasses import replace

from operator_builders import BASE, NOW, a_failed_pod, a_job, a_pending_pod, a_pod, a_status, facts, terminating
from operator_world import FakeCluster
from rlvr_api.contract import ANNOTATION_SKIP_LAST_CHECKPOINT
from rlvr_operator.alarms import look_again_after
from rlvr_operator.lifecycle.deletion import deleted
from rlvr_operator.lifecycle.intent import Intent

GOING = a_job(status=a_status(), deleted_at=NOW)


def test_a_job_that_is_not_deleted_is_none_of_its_business() -> None:
    assert deleted(facts(a_job(), *BASE)) is None


def test_the_learner_is_asked_first_and_with_its_own_grace() -> None:
    intent = deleted(facts(GOING, *BASE))

    assert intent is not None
    (deletion,) = intent.delete
    assert (deletion.name, deletion.grace_seconds) == ("sums-learner-0-a0", None)
    assert intent.finalizer is None


def test_services_stay_while_the_learner_saves() -> None:
    intent = deleted(facts(GOING, terminating(a_pod("learner")), a_pod("rollout")))

    assert intent == Intent()


def test_the_job_goes_when_no_learner_can_be_saving() -> None:
    for nothing_to_save in ((), (a_failed_pod("learner"),), (a_pending_pod("learner"),)):
        assert deleted(facts(GOING, *nothing_to_save, a_pod("rollout"))) == Intent(
            finalizer="remove", lets_gang_go=True
        )


def test_a_learner_of_an_earlier_attempt_that_still_saves_is_waited_for() -> None:
    job = replace(GOING, status=a_status(attempt=3))

    assert deleted(facts(job, terminating(a_pod("learner", attempt=2)))) == Intent()


def test_the_job_goes_a_minute_after_the_grace_whatever_the_pods_do() -> None:
    job = replace(GOING, deleted_at=NOW - 600 - 60)
    stuck = terminating(a_pod("learner", grace_seconds=600))

    assert deleted(facts(job, stuck)) == Intent(finalizer="remove", lets_gang_go=True)
    assert deleted(facts(job, stuck, now=NOW - 1)) == Intent()


def test_it_looks_again_when_that_minute_is_over() -> None:
    stuck = terminating(a_pod("learner", grace_seconds=600))

    assert look_again_after(facts(GOING, stuck)) == 660


def test_the_annotation_releases_the_job_at_once() -> None:
    job = replace(GOING, annotations={ANNOTATION_SKIP_LAST_CHECKPOINT: "true"})

    assert deleted(facts(job, *BASE)) == Intent(finalizer="remove", lets_gang_go=True)


def test_without_our_finalizer_the_garbage_collector_is_left_to_it() -> None:
    intent = deleted(facts(replace(GOING, finalizers=()), *BASE))

    assert intent == Intent(is_hands_off=True)


def test_from_deletion_to_gone() -> None:
    cluster = FakeCluster(job=a_job(finalizers=()))
    cluster.settled()
    cluster.delete_job()

    cluster.look()
    assert {pod.role for pod in cluster.pods.values() if not pod.is_terminating} == {"rollout", "reward"}
    assert cluster.applied

    cluster.live()
    cluster.look()
    assert cluster.job is None


def test_the_status_says_that_the_learner_saves() -> None:
    cluster = FakeCluster(job=a_job(finalizers=()))
    cluster.settled()
    cluster.delete_job()

    plan = cluster.look()

    assert plan.status is not None
    assert plan.status.message == "the job is being deleted; its learner saves a checkpoint first"

"""A finished job is finished."""

from dataclasses import replace

from operator_builders import BASE, LONG_AGO, NOW, a_condition, a_failed_pod, a_job, a_pod, a_status, facts, heard
from operator_world import FakeCluster
from rlvr_api.contract import FINALIZER
from rlvr_operator.alarms import look_again_after
from rlvr_operator.lifecycle.finished import completed, finished
from rlvr_operator.timestamps import rfc3339

ENDED = a_status(conditions=(a_condition("Failed"),), completion_time=rfc3339(NOW - 100))


def test_the_job_is_complete_when_all_learner_pods_ended_with_code_0() -> None:
    job = a_job(status=a_status(), learner={"nodes": 2, "backend": {"deepspeed": {}}})
    first, second = a_failed_pod("learner", 0, code=0), a_failed_pod("learner", 1, code=0)

    assert completed(facts(job, first, a_pod("learner", 1))) is None
    assert completed(facts(job, first)) is None
    intent = completed(facts(job, first, second))
    assert intent is not None and intent.ending is not None
    assert intent.ending.kind == "Complete"


def test_learners_of_an_earlier_attempt_do_not_complete_a_job() -> None:
    assert completed(facts(a_job(status=a_status(attempt=1)), a_failed_pod("learner", code=0))) is None


def test_rollouts_and_rewards_stop_and_learner_pods_stay_for_their_logs() -> None:
    cluster = FakeCluster(job=a_job(finalizers=()))
    cluster.settled()
    (learner,) = cluster.role("learner")
    cluster.fail(learner, code=0)
    cluster.settled()

    assert [pod.name for pod in cluster.pods.values()] == [learner.name]
    assert cluster.job is not None
    assert cluster.job.status.phase == "Succeeded"
    assert FINALIZER not in cluster.job.finalizers


def test_a_complete_job_shows_all_its_steps_even_if_the_last_were_not_heard() -> None:
    cluster = FakeCluster(job=a_job(finalizers=()))
    cluster.settled()
    cluster.progress = heard(step=58, at=cluster.now)
    (learner,) = cluster.role("learner")
    cluster.fail(learner, code=0)
    cluster.settled()

    assert cluster.job is not None and cluster.job.status.progress is not None
    assert cluster.job.status.progress.step == 60


def test_a_learner_that_still_runs_when_the_job_fails_is_stopped() -> None:
    intent = finished(facts(a_job(status=ENDED), a_pod("learner", 0), a_failed_pod("learner", 1)))

    assert intent is not None
    assert [deletion.name for deletion in intent.delete] == ["sums-learner-0-a0"]
    assert intent.finalizer is None


def test_nothing_is_made_again_for_a_finished_job_whatever_happens_to_it() -> None:
    cluster = FakeCluster(job=a_job(status=ENDED))
    cluster.settled()
    cluster.change_spec(suspend=True)
    cluster.settled()
    cluster.change_spec(suspend=False)
    cluster.settled()

    assert cluster.made == 0
    assert cluster.job is not None and cluster.job.status.phase == "Failed"


def test_the_conditions_of_a_finished_job_do_not_change_any_more() -> None:
    cluster = FakeCluster(job=a_job(status=ENDED))
    cluster.settled()

    assert cluster.job is not None
    assert cluster.job.status.conditions == ENDED.conditions


def test_the_job_is_deleted_when_its_time_to_live_is_over_and_not_before() -> None:
    job = a_job(status=ENDED, limits={"ttlSecondsAfterFinished": 100})

    late, early = finished(facts(job)), finished(facts(job, now=NOW - 1))

    assert late is not None and late.delete_job
    assert early is not None and not early.delete_job
    assert look_again_after(facts(job, now=NOW - 40)) == 40


def test_without_a_time_to_live_the_job_stays() -> None:
    intent = finished(facts(a_job(status=ENDED), now=NOW + 1e9))

    assert intent is not None and not intent.delete_job


def test_a_finished_job_is_finished_even_if_newer_rules_call_its_spec_invalid() -> None:
    cluster = FakeCluster(job=replace(a_job(status=ENDED), spec=None, problems=("spec.x: no",)))
    cluster.settled()

    assert cluster.job is not None
    assert cluster.job.status.conditions == ENDED.conditions


def test_the_time_of_the_end_is_written_once() -> None:
    cluster = FakeCluster(
        job=a_job(status=a_status(active_since=rfc3339(LONG_AGO)), limits={"activeDeadlineSeconds": 1})
    )
    cluster.pods = {pod.name: pod for pod in BASE}
    cluster.settled()
    cluster.pass_time(500)
    cluster.settled()

    assert cluster.job is not None
    assert cluster.job.status.completion_time == rfc3339(NOW)

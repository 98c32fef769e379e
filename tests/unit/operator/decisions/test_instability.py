"""Rollouts that fail again and again end the job only if it cannot go on for it."""

from operator_builders import NOW, a_failed_pod, a_job, a_looping_pod, a_pod, a_status, facts
from rlvr_operator.lifecycle.instability import num_failures, rollouts_keep_failing

TWO = {"engine": "local", "sampling": {"maxTokens": 64}, "replicas": 2, "min": 1}


def test_eleven_failures_in_a_row_of_the_only_rollout_fail_the_job() -> None:
    job = a_job(status=a_status(running_at=None))

    assert rollouts_keep_failing(facts(job, a_failed_pod(attempt=4, failures=9))) is None
    intent = rollouts_keep_failing(facts(job, a_failed_pod(attempt=5, failures=10)))

    assert intent is not None and intent.ending is not None
    assert intent.ending.reason == "RolloutUnstable"
    assert intent.ending.message.startswith(
        "rollouts failed 11 times without running for 10 minutes in between; pod sums"
    )


def test_containers_that_the_kubelet_keeps_starting_count_while_they_loop() -> None:
    job = a_job(status=a_status(running_at=None))

    assert num_failures(facts(job, a_looping_pod(restarts=3, failures=5))) == 8
    assert num_failures(facts(job, a_looping_pod(restarts=900))) == 5
    assert num_failures(facts(job, a_pod(restarts=900, ready_since=NOW))) == 0
    intent = rollouts_keep_failing(facts(job, a_looping_pod(restarts=1, failures=10)))
    assert intent is not None and intent.ending is not None
    assert "; pod sums-rollout-0-a0" in intent.ending.message, "the pod to look at is named"


def test_the_limit_grows_with_the_number_of_rollouts() -> None:
    job = a_job(status=a_status(), rollout=TWO)
    first = a_failed_pod("rollout", 0, failures=10)

    assert rollouts_keep_failing(facts(job, first, a_failed_pod("rollout", 1, failures=8))) is None
    assert rollouts_keep_failing(facts(job, first, a_failed_pod("rollout", 1, failures=9))) is not None


def test_with_enough_rollouts_ready_the_job_goes_on() -> None:
    job = a_job(status=a_status(), rollout=TWO)

    assert rollouts_keep_failing(facts(job, a_pod("rollout", 0), a_failed_pod("rollout", 1, failures=50))) is None


def test_ten_ready_minutes_wipe_the_slate() -> None:
    stable = facts(a_job(status=a_status()), a_pod(failures=9, ready_since=NOW - 600))
    young = facts(a_job(status=a_status()), a_pod(failures=9, ready_since=NOW - 599))

    assert (num_failures(stable), num_failures(young)) == (0, 9)


def test_evictions_are_not_failures() -> None:
    evicted = facts(a_job(status=a_status()), a_failed_pod(failures=2, is_disrupted=True))

    assert num_failures(evicted) == 2

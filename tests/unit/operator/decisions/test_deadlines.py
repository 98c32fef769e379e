"""Deadlines come from recorded times, and say which pod was in the way."""

import pytest

from operator_builders import (
    BASE,
    LONG_AGO,
    NOW,
    a_job,
    a_pending_pod,
    a_pod,
    a_status,
    an_unready_pod,
    facts,
    heard,
)
from rlvr_api import RLVRJobStatus
from rlvr_api.status import ProgressStatus
from rlvr_operator.alarms import look_again_after
from rlvr_operator.lifecycle.deadlines import startup_until, too_long, too_slow_a_start
from rlvr_operator.timestamps import rfc3339

NEVER_READY = {"running_at": None}


def message(intent: object) -> str:
    assert intent is not None
    return intent.ending.message  # type: ignore[attr-defined]


def reason(intent: object) -> str:
    assert intent is not None
    return intent.ending.reason  # type: ignore[attr-defined]


def test_a_job_that_runs_for_longer_than_its_deadline_fails() -> None:
    job = a_job(
        status=a_status(active_since=rfc3339(NOW - 500), active_seconds=500), limits={"activeDeadlineSeconds": 1000}
    )

    assert reason(too_long(facts(job, *BASE))) == "DeadlineExceeded"
    assert "1000 s (limits.activeDeadlineSeconds)" in message(too_long(facts(job, *BASE)))
    assert too_long(facts(job, *BASE, now=NOW - 1)) is None


def test_the_deadline_rings_on_time() -> None:
    job = a_job(status=a_status(active_since=rfc3339(NOW - 500)), limits={"activeDeadlineSeconds": 507})

    assert look_again_after(facts(job, *BASE)) == 7


def test_a_job_without_a_deadline_may_run_for_ever() -> None:
    assert too_long(facts(a_job(status=a_status()), *BASE, now=NOW + 1e9)) is None


def test_the_clock_stands_while_the_job_does_not_run() -> None:
    job = a_job(status=a_status(active_since=None, active_seconds=999), limits={"activeDeadlineSeconds": 1000})

    assert too_long(facts(job, *BASE, now=NOW + 1e9)) is None


def test_a_job_that_does_not_begin_in_time_fails_and_names_the_pod() -> None:
    job = a_job(status=a_status(**NEVER_READY), limits={"startupDeadlineSeconds": 3600})
    pods = (a_pod("learner"), a_pod("reward"), an_unready_pod("rollout"))

    intent = too_slow_a_start(facts(job, *pods))

    assert reason(intent) == "StartupDeadlineExceeded"
    assert message(intent).endswith("pod sums-rollout-0-a0 on node node-0 is not ready yet")
    assert too_slow_a_start(facts(job, *pods, now=NOW - 1)) is None


def test_the_start_is_counted_from_when_the_last_needed_pod_had_a_node() -> None:
    rollout = {"engine": "local", "sampling": {"maxTokens": 64}, "replicas": 3, "min": 2}
    job = a_job(status=a_status(**NEVER_READY), rollout=rollout, limits={"startupDeadlineSeconds": 100})
    placed = [an_unready_pod("rollout", index, placed_at=NOW - 50 + index) for index in range(2)]
    pods = (a_pod("learner"), a_pod("reward"), a_pending_pod("rollout", 2))

    assert startup_until(facts(job, *pods, *placed)) == NOW - 49 + 100
    assert startup_until(facts(job, *pods, placed[0])) is None


def test_once_everything_was_ready_the_start_is_over() -> None:
    assert startup_until(facts(a_job(status=a_status()), *BASE)) is None


def test_a_job_that_has_trained_before_does_not_fail_for_a_slow_restart() -> None:
    status = a_status(attempt=1, **NEVER_READY, progress=ProgressStatus(step=7, total_steps=60))
    job = a_job(status=status, limits={"startupDeadlineSeconds": 60})

    assert too_slow_a_start(facts(job, an_unready_pod("learner", attempt=1), a_pod(), a_pod("reward"))) is None


def test_a_job_whose_coordinator_spoke_but_never_made_a_step_has_not_begun() -> None:
    status = a_status(**NEVER_READY, progress=ProgressStatus(step=0, total_steps=60))
    job = a_job(status=status, limits={"startupDeadlineSeconds": 60})

    assert too_slow_a_start(facts(job, a_pod("learner"), an_unready_pod(), a_pod("reward"))) is not None


@pytest.mark.parametrize("pod", BASE)
def test_a_deadline_does_not_run_before_all_have_a_node(pod: object) -> None:
    job = a_job(status=RLVRJobStatus(), limits={"startupDeadlineSeconds": 60})
    others = [other for other in BASE if other is not pod]

    assert startup_until(facts(job, *others, progress=heard(at=LONG_AGO))) is None

"""A learner is hung when it alone is in the way, and somebody was listening."""

from typing import Any

import pytest

from operator_builders import (
    BASE,
    LONG_AGO,
    NOW,
    a_condition,
    a_failed_pod,
    a_job,
    a_pod,
    a_status,
    an_unready_pod,
    facts,
    heard,
    without,
)
from rlvr_api.status import ProgressStatus
from rlvr_operator.alarms import look_again_after
from rlvr_operator.lifecycle.hang import hung_at
from rlvr_operator.lifecycle.loss import loss_of
from rlvr_operator.timestamps import rfc3339

LIMITS = {"hangTimeoutSeconds": 1800}


def at_step(step: int, *, since: float, **fields: Any) -> Any:
    progress = ProgressStatus(step=step, total_steps=60, step_since=rfc3339(since), updated_at=rfc3339(since))
    return a_job(status=a_status(progress=progress, **fields), limits=LIMITS)


def test_a_step_that_takes_longer_than_the_timeout_is_a_hang_and_says_what_the_job_did() -> None:
    job = at_step(5, since=NOW - 1800)
    told = heard(step=5, activity="training step 6")

    loss = loss_of(facts(job, *BASE, progress=told))

    assert loss is not None
    assert (loss.reason, loss.price) == ("Hung", "counted")
    assert loss.message == ("no step has finished for 1800 s (limits.hangTimeoutSeconds); last heard: training step 6")
    assert loss_of(facts(job, *BASE, progress=told, now=NOW - 1)) is None
    assert look_again_after(facts(job, *BASE, progress=heard(step=5, at=NOW - 20), now=NOW - 20)) == 20


def test_a_step_that_was_just_made_is_not() -> None:
    assert loss_of(facts(at_step(5, since=LONG_AGO), *BASE, progress=heard(step=6))) is None


def test_an_operator_that_was_away_for_an_hour_listens_before_it_judges() -> None:
    job = at_step(5, since=LONG_AGO)

    assert hung_at(facts(job, *BASE)) is None
    assert hung_at(facts(job, *BASE, listening_since=NOW)) == NOW + 1800


def test_a_coordinator_that_fell_silent_is_a_hang() -> None:
    job = at_step(5, since=LONG_AGO)
    silent = facts(job, *BASE, progress=heard(step=5, at=NOW - 1800), listening_since=LONG_AGO)

    loss = loss_of(silent)

    assert loss is not None and loss.reason == "Hung"


def test_a_coordinator_that_was_never_heard_is_not_taken_for_hung() -> None:
    job = a_job(status=a_status(), limits=LIMITS)

    assert hung_at(facts(job, *BASE, listening_since=LONG_AGO)) is None


def test_what_an_earlier_attempt_said_is_not_held_against_this_one() -> None:
    job = a_job(status=a_status(attempt=1, started_at=NOW - 60, running_at=NOW - 60), limits=LIMITS)
    pods = (a_pod("learner", attempt=1), *without(BASE, "learner"))

    assert hung_at(facts(job, *pods, progress=heard(attempt=0, at=LONG_AGO), listening_since=LONG_AGO)) is None


@pytest.mark.parametrize(
    ("pods", "told"),
    [
        (without(BASE, "rollout"), {}),
        (without(BASE, "reward"), {}),
        ((*without(BASE, "rollout"), an_unready_pod("rollout")), {}),
        (BASE, {"is_waiting": True}),
    ],
    ids=["no rollout", "no reward", "rollout not ready", "store does not answer"],
)
def test_a_job_that_waits_for_something_else_does_not_hang(pods: Any, told: dict[str, Any]) -> None:
    job = at_step(5, since=LONG_AGO)

    assert loss_of(facts(job, *pods, progress=heard(step=5, **told))) is None


@pytest.mark.parametrize("kind", ["RolloutsReady", "RewardReady", "CheckpointHealthy"])
def test_after_such_a_wait_the_clock_starts_anew(kind: str) -> None:
    job = at_step(5, since=LONG_AGO, conditions=(a_condition(kind, since=NOW - 100),))

    assert hung_at(facts(job, *BASE, progress=heard(step=5))) == NOW - 100 + 1800


@pytest.mark.parametrize("kind", ["RolloutsReady", "RewardReady", "CheckpointHealthy"])
def test_a_wait_that_has_just_ended_is_not_held_against_the_learner(kind: str) -> None:
    job = at_step(5, since=LONG_AGO, conditions=(a_condition(kind, "False", since=LONG_AGO, reason="TrainingWaits"),))

    assert hung_at(facts(job, *BASE, progress=heard(step=5))) == NOW + 1800


def test_a_store_that_fails_while_training_goes_on_excuses_no_hang() -> None:
    failing = a_condition("CheckpointHealthy", "False", since=LONG_AGO, reason="StoreFails")
    job = at_step(5, since=LONG_AGO, conditions=(failing,))

    assert loss_of(facts(job, *BASE, progress=heard(step=5, error="403"))) is not None


def test_a_learner_that_stopped_answering_its_probe_can_still_be_found_hung() -> None:
    job = at_step(5, since=LONG_AGO)
    pods = (an_unready_pod("learner"), *without(BASE, "learner"))

    assert loss_of(facts(job, *pods, progress=heard(step=5))) is not None


def test_a_job_that_is_not_up_yet_does_not_hang() -> None:
    assert hung_at(facts(at_step(5, since=LONG_AGO, running_at=None), *BASE, progress=heard(step=5))) is None


def test_ranks_that_run_on_after_another_ended_well_are_hung_after_five_minutes() -> None:
    job = a_job(status=a_status(), learner={"nodes": 2, "backend": {"deepspeed": {}}})
    done = a_failed_pod("learner", 0, code=0, at=NOW - 300)

    loss = loss_of(facts(job, done, a_pod("learner", 1)))

    assert loss is not None
    assert (loss.reason, loss.message) == ("Hung", "some ranks ended well, others run on without them")
    assert loss_of(facts(job, done, a_pod("learner", 1), now=NOW - 1)) is None


def test_a_coordinator_that_still_evaluates_after_the_ranks_have_ended_is_not() -> None:
    done = a_failed_pod("learner", code=0, at=LONG_AGO)
    evaluating = a_pod("learner", exits=done.exits)

    assert loss_of(facts(a_job(status=a_status()), evaluating)) is None

"""What ends an attempt of the learner, what it costs, and when there is no other."""

from typing import Any

import pytest

from operator_builders import (
    NOW,
    a_failed_pod,
    a_job,
    a_pod,
    a_status,
    an_exit,
    an_unready_pod,
    facts,
    heard,
    terminating,
)
from operator_world import FakeCluster
from rlvr_api import RLVRJobStatus
from rlvr_api.contract import EXIT_CORRUPT_CHECKPOINT, EXIT_INTERRUPTED, EXIT_INVALID
from rlvr_api.status import CheckpointStatus, ProgressStatus
from rlvr_operator.lifecycle.intent import Ending, Intent
from rlvr_operator.lifecycle.restart import learner_is_lost
from rlvr_operator.timestamps import rfc3339

THREE = {"nodes": 3, "backend": {"deepspeed": {}}}


def lost(*learners: Any, status: RLVRJobStatus | None = None, now: float = NOW, **sections: Any) -> Intent | None:
    job = a_job(status=status or a_status(), **sections)
    return learner_is_lost(facts(job, *learners, a_pod(), a_pod("reward"), now=now))


def memory(intent: Intent | None) -> RLVRJobStatus:
    assert intent is not None and intent.memory is not None
    return intent.memory


def ending(intent: Intent | None) -> Ending:
    assert intent is not None and intent.ending is not None
    return intent.ending


def cost(intent: Intent | None) -> int:
    return memory(intent).restarts


def test_a_learner_that_runs_is_not_lost() -> None:
    assert lost(a_pod("learner")) is None


def test_a_rank_that_fails_is_a_counted_restart_which_names_pod_code_and_last_words() -> None:
    failed = a_failed_pod("learner", message="Traceback\n...\nRuntimeError: NCCL time-out\n")

    intent = lost(failed)

    assert (memory(intent).attempt, memory(intent).restarts) == (1, 1)
    assert memory(intent).current_attempt.cause == (
        "LearnerFailed: learner 0 (pod sums-learner-0-a0): container learner exited with code 1: "
        "RuntimeError: NCCL time-out"
    )


def test_the_decision_is_written_before_anything_is_deleted() -> None:
    intent = lost(a_failed_pod("learner"))

    assert intent is not None
    assert intent.delete == () and intent.create == ()


def test_all_ranks_restart_when_the_old_ones_are_gone_and_rollouts_stay_up() -> None:
    cluster = FakeCluster(job=a_job(finalizers=(), learner=THREE))
    cluster.settled()
    rollouts = cluster.role("rollout")
    cluster.fail(cluster.role("learner")[1])

    cluster.look()
    cluster.look()
    assert all(pod.is_terminating for pod in cluster.role("learner"))
    cluster.look()
    assert [pod.attempt for pod in cluster.role("learner")] == [0, 0, 0]
    cluster.live()
    cluster.settled()

    assert [pod.attempt for pod in cluster.role("learner")] == [1, 1, 1]
    assert cluster.role("rollout") == rollouts


def test_the_rank_that_failed_first_is_to_blame() -> None:
    follower = a_failed_pod("learner", 0, at=NOW)
    culprit = a_failed_pod("learner", 2, code=3, at=NOW - 9)

    cause = memory(lost(follower, a_pod("learner", 1), culprit, learner=THREE)).current_attempt.cause

    assert cause is not None
    assert "learner 2" in cause and "code 3" in cause


def test_the_coordinator_beside_learner_0_shares_its_fate() -> None:
    pod = a_pod("learner", exits=(an_exit(1, container="coordinator"),))

    assert "container coordinator exited with code 1" in str(memory(lost(pod)).current_attempt.cause)


@pytest.mark.parametrize("code", [1, 2, 42, 78, 127, 137, 143, 255])
def test_codes_that_nobody_reserved_are_worth_another_attempt(code: int) -> None:
    assert cost(lost(a_failed_pod("learner", code=code))) == 1


def test_exit_code_64_fails_the_job_at_once() -> None:
    end = ending(lost(a_failed_pod("learner", code=EXIT_INVALID, message="model has no lm_head")))

    assert end.reason == "NonRetryableExit"
    assert "code 64: model has no lm_head" in end.message


def test_exit_code_64_decides_even_if_another_rank_failed_first() -> None:
    pods = (a_failed_pod("learner", 0, at=NOW - 5), a_failed_pod("learner", 1, code=EXIT_INVALID), a_pod("learner", 2))

    assert ending(lost(*pods, learner=THREE)).reason == "NonRetryableExit"


def test_exit_code_75_restarts_for_free() -> None:
    assert cost(lost(a_failed_pod("learner", code=EXIT_INTERRUPTED))) == 0


def test_one_rank_that_saved_does_not_excuse_another_that_failed() -> None:
    pods = (
        a_failed_pod("learner", 0, code=EXIT_INTERRUPTED, at=NOW - 5),
        a_failed_pod("learner", 1),
        a_pod("learner", 2),
    )

    assert cost(lost(*pods, learner=THREE)) == 1


def test_exit_code_65_is_counted_because_the_next_attempt_falls_back() -> None:
    intent = lost(a_failed_pod("learner", code=EXIT_CORRUPT_CHECKPOINT))

    assert cost(intent) == 1
    assert str(memory(intent).current_attempt.cause).startswith("CorruptCheckpoint")


def test_the_users_rules_come_before_the_reserved_codes_and_the_first_that_fits_decides() -> None:
    rules = [
        {"exitCodes": [EXIT_INVALID, 7], "action": "restartFree"},
        {"exitCodes": [7, 9], "action": "fail"},
        {"exitCodes": [EXIT_INTERRUPTED], "action": "restart"},
    ]
    learner = {"restart": {"rules": rules}}

    assert cost(lost(a_failed_pod("learner", code=EXIT_INVALID), learner=learner)) == 0
    assert cost(lost(a_failed_pod("learner", code=7), learner=learner)) == 0
    assert cost(lost(a_failed_pod("learner", code=EXIT_INTERRUPTED), learner=learner)) == 1
    end = ending(lost(a_failed_pod("learner", code=9), learner=learner))
    assert end.reason == "NonRetryableExit"
    assert end.message.endswith("(learner.restart.rules: fail)")


def test_a_rule_is_about_the_rank_that_failed_first_not_those_that_followed() -> None:
    learner = {**THREE, "restart": {"rules": [{"exitCodes": [1], "action": "fail"}]}}
    pods = (a_failed_pod("learner", 0, code=3, at=NOW - 5), a_failed_pod("learner", 1, code=1), a_pod("learner", 2))

    assert cost(lost(*pods, learner=learner)) == 1


def test_out_of_memory_restarts_once_and_then_fails_with_the_way_out() -> None:
    killed = a_failed_pod("learner", code=137, reason="OOMKilled")
    first = lost(killed)
    assert cost(first) == 1
    assert memory(first).current_attempt.out_of_memory == 1

    again = a_status(attempt=1, restarts=1, remembered={"out_of_memory": 1})
    end = ending(lost(a_failed_pod("learner", attempt=1, code=137, reason="OOMKilled"), status=again))

    assert end.reason == "OutOfMemory"
    assert "raise the learner's memory limit or lower training.tokenBudget" in end.message


@pytest.mark.parametrize("fields", [{"phase": "Failed"}, {"exits": (an_exit(143),)}, {}])
def test_a_drained_or_preempted_node_restarts_for_free(fields: dict[str, Any]) -> None:
    pod = an_unready_pod("learner", is_disrupted=True, disruption="EvictionByEvictionAPI", **fields)

    intent = lost(pod)

    assert cost(intent) == 0
    assert intent is not None
    assert [event.reason for event in intent.events] == ["Disrupted"]


def test_ranks_that_fail_because_another_was_drained_cost_nothing() -> None:
    pods = (a_failed_pod("learner", 0, at=NOW - 1), a_pod("learner", 1, is_disrupted=True), a_failed_pod("learner", 2))

    assert cost(lost(*pods, learner=THREE)) == 0


def test_a_rank_that_was_done_before_its_node_went_was_not_disrupted() -> None:
    done = a_failed_pod("learner", 0, code=0, at=NOW, is_disrupted=True)

    assert lost(done, a_pod("learner", 1), a_pod("learner", 2), learner=THREE) is None


def test_disruptions_count_from_the_eleventh_within_an_hour() -> None:
    recent = tuple(rfc3339(NOW - 60 * number) for number in range(1, 11))
    pod = an_unready_pod("learner", is_disrupted=True)

    ten = memory(lost(pod, status=a_status(remembered={"free_restarts": recent[:9]})))
    eleven = memory(lost(pod, status=a_status(remembered={"free_restarts": recent})))
    later = memory(lost(pod, status=a_status(remembered={"free_restarts": recent}), now=NOW + 3600))

    assert (ten.restarts, len(ten.current_attempt.free_restarts)) == (0, 10)
    assert eleven.restarts == 1
    assert (later.restarts, later.current_attempt.free_restarts) == (0, (rfc3339(NOW + 3600),))


def test_a_learner_pod_that_vanished_is_a_failed_attempt() -> None:
    intent = lost(a_pod("learner", 0), a_pod("learner", 2), learner=THREE)

    assert cost(intent) == 1
    assert memory(intent).current_attempt.cause == "PodVanished: the pod of learner 1 has vanished"


def test_a_learner_pod_that_vanished_before_all_had_a_node_is_simply_made_again() -> None:
    assert lost(a_pod("learner", 0), status=a_status(started_at=None, running_at=None), learner=THREE) is None


def test_a_learner_pod_that_a_user_deletes_is_waited_for_so_that_it_can_save() -> None:
    leaving = terminating(a_pod("learner"))

    assert lost(leaving) is None
    saved = terminating(a_failed_pod("learner", code=EXIT_INTERRUPTED))
    assert cost(lost(saved)) == 0


def test_a_pod_that_failed_without_a_word_about_its_containers_counts() -> None:
    intent = lost(an_unready_pod("learner", phase="Failed"))

    assert cost(intent) == 1


def test_a_later_attempt_that_does_not_get_ready_in_time_is_lost() -> None:
    status = a_status(attempt=1, running_at=None, progress=ProgressStatus(step=7, total_steps=60))
    slow = an_unready_pod("learner", attempt=1)

    intent = lost(slow, status=status, limits={"startupDeadlineSeconds": 3600})

    assert "SlowStart" in str(memory(intent).current_attempt.cause)
    assert lost(slow, status=status, limits={"startupDeadlineSeconds": 3601}) is None


# --- the budget ------------------------------------------------------------------------------------------------------

SAVED = CheckpointStatus(step=30)


def failed_with(**fields: Any) -> Intent | None:
    learner = {"restart": {"maxRestarts": 3, "stableSeconds": 600, "noProgressAttempts": 2}}
    return lost(a_failed_pod("learner", attempt=5), status=a_status(attempt=5, **fields), learner=learner)


def test_the_job_fails_when_its_restarts_are_used_up() -> None:
    end = ending(failed_with(restarts=3, running_at=NOW - 60, checkpoint=SAVED))

    assert end.reason == "RestartsExhausted"
    assert "all 3 restarts (learner.restart.maxRestarts) are used" in end.message


def test_a_long_run_that_saved_a_newer_checkpoint_earns_the_budget_back() -> None:
    forgiven = memory(
        failed_with(restarts=3, running_at=NOW - 600, checkpoint=SAVED, remembered={"checkpoint_step": 20})
    )

    assert forgiven.restarts == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"running_at": NOW - 599, "checkpoint": SAVED, "remembered": {"checkpoint_step": 20}},
        {"running_at": NOW - 900, "checkpoint": SAVED, "remembered": {"checkpoint_step": 30}},
        {"running_at": None, "checkpoint": SAVED},
    ],
    ids=["a newer checkpoint but a short run", "a long run but no newer checkpoint", "never ready"],
)
def test_neither_time_nor_a_checkpoint_alone_earns_it_back(fields: dict[str, Any]) -> None:
    assert ending(failed_with(restarts=3, **fields)).reason == "RestartsExhausted"


def test_attempts_that_make_no_newer_checkpoint_stop_the_job_whatever_the_budget() -> None:
    stuck = {"checkpoint": SAVED, "remembered": {"checkpoint_step": 30, "fruitless": 1}}

    end = ending(failed_with(restarts=1, **stuck))

    assert end.reason == "NoProgress"
    assert "2 attempts in a row made no newer checkpoint" in end.message


def test_a_newer_checkpoint_ends_the_row_of_fruitless_attempts() -> None:
    better = {"checkpoint": SAVED, "remembered": {"checkpoint_step": 20, "fruitless": 1}}

    intent = failed_with(restarts=1, **better)

    assert memory(intent).current_attempt.fruitless == 0
    assert memory(intent).current_attempt.checkpoint_step == 30


def test_a_checkpoint_that_was_heard_of_but_not_written_down_counts_as_progress() -> None:
    job = a_job(status=a_status(remembered={"fruitless": 1, "checkpoint_step": 20}))
    told = heard(checkpoint=25)

    intent = learner_is_lost(facts(job, a_failed_pod("learner"), progress=told))

    assert memory(intent).current_attempt.checkpoint_step == 25


def test_a_disruption_makes_no_attempt_fruitless() -> None:
    pod = an_unready_pod("learner", is_disrupted=True)

    intent = lost(pod, status=a_status(remembered={"fruitless": 1}))

    assert memory(intent).current_attempt.fruitless == 1


def test_the_event_says_from_where_the_next_attempt_starts() -> None:
    with_checkpoint, without = failed_with(checkpoint=SAVED), lost(a_failed_pod("learner"))

    assert with_checkpoint is not None and without is not None
    assert with_checkpoint.events[0].message.endswith("attempt 6 starts from the checkpoint of step 30")
    assert without.events[0].message.endswith("attempt 1 starts from the beginning")


def test_an_operator_killed_after_writing_the_decision_decides_once() -> None:
    cluster = FakeCluster(job=a_job(finalizers=()))
    cluster.settled()
    cluster.fail(cluster.role("learner")[0])
    for _ in range(3):
        cluster.carry_out(cluster.plan(), writes=1)
    cluster.live()
    cluster.settled()

    assert cluster.job is not None
    assert (cluster.job.status.attempt, cluster.job.status.restarts) == (1, 1)

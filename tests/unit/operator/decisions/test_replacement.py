"""Rollout and reward pods are replaced one by one, ever more slowly, and remember why in their own annotations."""

from dataclasses import replace
from typing import Any

import pytest

from operator_builders import (
    NOW,
    a_failed_pod,
    a_job,
    a_looping_pod,
    a_pending_pod,
    a_pod,
    a_status,
    an_exit,
    an_unready_pod,
    facts,
    terminating,
)
from operator_world import FakeCluster
from rlvr_operator.alarms import look_again_after
from rlvr_operator.lifecycle.replacement import Change, delay, kept_at_strength
from rlvr_operator.workloads import Member


def rollouts(*pods: Any, replicas: int = 1, now: float = NOW) -> Change:
    rollout = {"engine": "local", "sampling": {"maxTokens": 64}, "replicas": replicas}
    return kept_at_strength(facts(a_job(status=a_status(), rollout=rollout), *pods, now=now), "rollout")


def test_the_delays_are_0_10_20_40_and_so_on_to_5_minutes() -> None:
    assert [delay(failures) for failures in range(9)] == [0, 10, 20, 40, 80, 160, 300, 300, 300]


def test_delays_never_shrink_and_stay_finite() -> None:
    delays = [delay(failures) for failures in range(2000)]

    assert delays == sorted(delays)
    assert delays[-1] == 300


def test_a_first_failure_is_replaced_at_once_in_one_plan() -> None:
    change = rollouts(a_failed_pod())

    assert [it.name for it in change.delete] == ["sums-rollout-0-a0"]
    assert change.create == (Member(role="rollout", index=0, attempt=1, failures=1),)
    assert [event.reason for event in change.events] == ["RolloutReplaced"]
    assert "exited with code 1" in change.events[0].message


def test_a_second_failure_waits_and_its_pod_stays_for_its_logs() -> None:
    failed = a_failed_pod(attempt=1, failures=1, at=NOW - 9)

    assert rollouts(failed) == Change()
    assert rollouts(failed, now=NOW + 1).create == (Member(role="rollout", index=0, attempt=2, failures=2),)


def test_the_wait_begins_with_the_last_end_of_a_container() -> None:
    ends = (an_exit(1, container="engine", at=NOW - 100), an_exit(1, container="agent", at=NOW - 9))

    assert rollouts(an_unready_pod(phase="Failed", failures=1, exits=ends)) == Change()
    assert rollouts(an_unready_pod(phase="Failed", failures=1, exits=ends), now=NOW + 1).create != ()


def test_of_a_pod_that_was_never_started_it_begins_when_it_had_a_node_or_was_made() -> None:
    placed = an_unready_pod(phase="Failed", failures=1, placed_at=NOW - 9, created_at=NOW - 100)
    unplaced = a_pending_pod(phase="Failed", failures=1, created_at=NOW - 9)

    assert rollouts(placed) == rollouts(unplaced) == Change()
    assert rollouts(placed, now=NOW + 1).create != ()


def test_it_looks_again_when_the_wait_is_over() -> None:
    failed = a_failed_pod(attempt=1, failures=3, at=NOW - 9)

    assert look_again_after(facts(a_job(status=a_status()), a_pod("learner"), a_pod("reward"), failed)) == 31


def test_a_life_of_ten_minutes_earns_the_failures_back() -> None:
    old = an_unready_pod(phase="Failed", attempt=7, failures=7, exits=(an_exit(1, container="agent", ran=600),))
    young = an_unready_pod(phase="Failed", attempt=7, failures=7, exits=(an_exit(1, container="agent", ran=599),))

    assert rollouts(old).create == (Member(role="rollout", index=0, attempt=8, failures=1),)
    assert rollouts(young) == Change()


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_ended_however_well_is_replaced(phase: str) -> None:
    assert [it.attempt for it in rollouts(an_unready_pod(phase=phase)).create] == [1]


def test_a_container_that_the_kubelet_starts_again_is_left_to_it() -> None:
    assert rollouts(a_pod(restarts=9, exits=(an_exit(1, container="engine", is_last=True),))) == Change()
    assert rollouts(an_unready_pod(exits=(an_exit(1, container="engine"),))) == Change()
    assert rollouts(a_looping_pod(restarts=4)) == Change()


def test_a_pod_whose_containers_loop_is_replaced_after_five_restarts() -> None:
    change = rollouts(a_looping_pod(restarts=5))

    assert change.create == (Member(role="rollout", index=0, attempt=1, failures=5),)
    assert change.events[0].message == (
        "pod sums-rollout-0-a0: container rollout exited with code 1, and again whenever it is started"
    )


def test_the_successor_of_a_looping_pod_waits_for_what_the_others_earned() -> None:
    again = a_looping_pod(restarts=5, attempt=1, failures=5, at=NOW - 159)

    assert rollouts(again) == Change()
    assert rollouts(again, now=NOW + 1).create == (Member(role="rollout", index=0, attempt=2, failures=10),)


def test_an_evicted_pod_is_replaced_at_once_and_for_free() -> None:
    evicted = a_failed_pod(attempt=3, failures=3, code=137, is_disrupted=True, disruption="EvictionByEvictionAPI")

    change = rollouts(evicted)

    assert change.create == (Member(role="rollout", index=0, attempt=4, failures=3),)
    assert change.events[0].type == "Normal"


def test_a_pod_on_a_lost_node_is_given_up_after_a_minute_and_not_made_again_before_it_is_gone() -> None:
    silent = an_unready_pod(unready_since=NOW - 60, node="node-7")
    job = a_job(status=a_status())

    early = kept_at_strength(facts(job, silent, lost_nodes=frozenset({"node-7"}), now=NOW - 1), "rollout")
    late = kept_at_strength(facts(job, silent, lost_nodes=frozenset({"node-7"})), "rollout")

    assert early == Change()
    assert ([it.name for it in late.delete], late.create) == ([silent.name], ())
    assert kept_at_strength(facts(job, silent), "rollout") == Change()


def test_a_pod_that_is_being_deleted_keeps_its_index_until_it_is_gone() -> None:
    assert rollouts(terminating(a_pod())) == Change()


def test_a_pod_that_is_being_deleted_and_has_ended_gets_its_successor() -> None:
    gone = terminating(a_failed_pod(code=143, failures=2))

    assert rollouts(gone).create == (Member(role="rollout", index=0, attempt=1, failures=2),)
    assert rollouts(gone).delete == ()


def test_a_vanished_pod_is_made_again() -> None:
    assert rollouts().create == (Member(role="rollout", index=0),)


def test_pods_that_start_are_left_alone() -> None:
    assert rollouts(a_pending_pod(), an_unready_pod("rollout", 1), replicas=2) == Change()


def test_scaling_up_makes_what_is_missing() -> None:
    assert [it.index for it in rollouts(a_pod(), replicas=3).create] == [1, 2]


def test_scaling_down_takes_the_highest_indices_first_and_leaves_the_rest() -> None:
    change = rollouts(*(a_pod("rollout", index) for index in range(4)), replicas=2)

    assert [it.name for it in change.delete] == ["sums-rollout-3-a0", "sums-rollout-2-a0"]
    assert change.create == ()


def test_a_failed_pod_above_the_wanted_number_has_no_successor() -> None:
    change = rollouts(a_pod(), a_failed_pod("rollout", 1))

    assert [it.name for it in change.delete] == ["sums-rollout-1-a0"]
    assert change.create == ()


def test_reward_pods_live_by_the_same_rules_and_never_fail_the_job() -> None:
    cluster = FakeCluster(job=a_job(finalizers=()))
    cluster.settled()
    for _ in range(8):
        (pod,) = cluster.role("reward")
        cluster.fail(pod)
        cluster.settled()
        cluster.pass_time(300)
        cluster.settled()

    assert cluster.job is not None
    assert cluster.job.status.phase == "Running"
    assert cluster.role("reward")[0].attempt == 8


def test_successor_and_predecessor_are_never_both_alive() -> None:
    failed = a_failed_pod()
    again = kept_at_strength(
        facts(a_job(status=a_status()), replace(failed, phase="Running"), a_pod(attempt=1)), "rollout"
    )

    assert [it.name for it in again.delete] == [failed.name]
    assert again.create == ()

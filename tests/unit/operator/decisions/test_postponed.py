"""The Service is made when pods have addresses, the budget when rollouts are ready; neither is forgotten."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_builders import (
    BASE,
    LONG_AGO,
    NOW,
    a_cluster,
    a_job,
    a_pending_pod,
    a_pod,
    a_status,
    an_unready_pod,
    facts,
)
from operator_world import FakeCluster
from rlvr_operator.alarms import look_again_after
from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.lifecycle.postponed import BUDGET_SECONDS, NAMES_SECONDS, due_times, is_due
from rlvr_operator.observed import ROLES, PodSeen, Role
from rlvr_operator.plan import Manifest, Plan
from rlvr_operator.reconcile import reconcile
from rlvr_operator.workloads import child_key, children
from workload_builders import KIT

TWO_ROLLOUTS = {"engine": "local", "replicas": 2, "sampling": {"maxTokens": 64}}
STARTING = a_status(started_at=None, running_at=None)


def an_addressed_pod(role: Role, index: int = 0, **fields: Any) -> PodSeen:
    known = {"address": f"10.0.0.{index}", "created_at": NOW - 9, "placed_at": NOW}
    return an_unready_pod(role, index, **{**known, **fields})


def a_placed_pod(role: Role, index: int = 0, *, at: float = NOW) -> PodSeen:
    """On its node, whose kubelet has not told an address yet."""
    return an_unready_pod(role, index, placed_at=at, created_at=NOW - 9)


def due(what: str, known: Facts) -> bool:
    return is_due(known, {"kind": what})


def service_due(*pods: PodSeen, **fields: Any) -> bool:
    return due("Service", facts(a_job(status=STARTING, rollout=TWO_ROLLOUTS), *pods, **fields))


def budget_due(*pods: PodSeen, **fields: Any) -> bool:
    return due("PodDisruptionBudget", facts(a_job(status=STARTING, rollout=TWO_ROLLOUTS), *pods, **fields))


ADDRESSED = tuple(an_addressed_pod(role, index) for role, index in [*((it, 0) for it in ROLES), ("rollout", 1)])


def test_without_pods_and_while_no_pod_has_a_node_there_is_nothing_to_name() -> None:
    assert not service_due()
    assert not service_due(a_pending_pod("learner"), a_pending_pod("rollout"), a_pending_pod("reward"), now=NOW + 9999)


def test_the_service_is_made_when_all_pods_have_addresses() -> None:
    assert service_due(*ADDRESSED)


def test_the_service_waits_two_seconds_for_the_last_address_and_no_longer() -> None:
    pods = (*ADDRESSED[:-1], a_placed_pod("rollout", 1))

    assert not service_due(*pods, now=NOW + NAMES_SECONDS - 0.1)
    assert service_due(*pods, now=NOW + NAMES_SECONDS)


def test_the_two_seconds_begin_with_the_first_pod_that_has_its_node() -> None:
    assert service_due(a_placed_pod("learner", at=NOW - 2), a_pending_pod("rollout"), a_pending_pod("reward"))
    assert not service_due(a_placed_pod("learner", at=NOW - 1), a_pending_pod("rollout"), a_pending_pod("reward"))


def test_a_node_that_nobody_dated_counts_from_the_pods_creation() -> None:
    assert service_due(an_unready_pod("learner", placed_at=None, created_at=NOW - 2))
    assert not service_due(an_unready_pod("learner", placed_at=None, created_at=NOW - 1))


def test_learners_of_an_attempt_that_is_over_are_not_waited_for() -> None:
    job = a_job(status=a_status(attempt=1, started_at=None, running_at=None))

    assert not due("Service", facts(job, an_addressed_pod("learner", attempt=0)))


def test_the_budget_is_made_when_all_rollouts_are_ready() -> None:
    assert budget_due(a_pod("rollout", 0), a_pod("rollout", 1))
    assert not budget_due(a_pod("rollout", 0), an_unready_pod("rollout", 1))


def test_the_budget_waits_a_minute_of_training_for_the_last_rollout_and_no_longer() -> None:
    job = a_job(status=a_status(running_at=NOW), rollout=TWO_ROLLOUTS)
    pods = (*BASE, an_unready_pod("rollout", 1))

    assert not due("PodDisruptionBudget", facts(job, *pods, now=NOW + BUDGET_SECONDS - 1))
    assert due("PodDisruptionBudget", facts(job, *pods, now=NOW + BUDGET_SECONDS))


@pytest.mark.parametrize("kind", ["ConfigMap", "NetworkPolicy", "PodGroup"])
def test_nothing_else_waits(kind: str) -> None:
    assert due(kind, facts(a_job(status=STARTING)))


@pytest.mark.parametrize("child", ["Service/sums", "PodDisruptionBudget/sums-rollout"])
def test_what_is_there_is_kept_up_to_date_at_once(child: str) -> None:
    known = facts(a_job(status=STARTING, rollout=TWO_ROLLOUTS), applied={child: "an older form"})

    assert due(child.partition("/")[0], known)


def test_pods_are_made_only_with_the_names_of_late_children_at_hand() -> None:
    first = reconcile(a_cluster(a_job(finalizers=(), rollout=TWO_ROLLOUTS)), KIT)

    assert kinds(first.later) == ["Service", "PodDisruptionBudget"]
    assert not {"Service", "PodDisruptionBudget"} & set(kinds(first.apply))
    job = a_job(status=STARTING, rollout=TWO_ROLLOUTS)
    assert reconcile(a_cluster(job, *ADDRESSED, applied=applied(job)), KIT).later == ()


def test_a_starting_job_is_looked_at_again_when_its_service_is_due() -> None:
    job = a_job(status=a_status(running_at=None), limits={"startupDeadlineSeconds": 9999})
    pods = (a_placed_pod("learner"), a_placed_pod("rollout"), a_placed_pod("reward"))
    known = facts(job, *pods, applied=applied(job, without=("Service",)), now=NOW + 0.5)

    assert look_again_after(known) == 1.5


def test_a_job_makes_each_child_once_while_it_comes_up() -> None:
    cluster = FakeCluster(job=a_job(finalizers=(), rollout=TWO_ROLLOUTS))
    made: list[str] = []
    for _ in range(20):
        made += [child_key(child) for child in cluster.look().apply]
        cluster.pass_time(1)
        cluster.live()

    assert made == [
        *("ConfigMap/sums", "NetworkPolicy/sums", "NetworkPolicy/sums-reward"),
        *("Service/sums", "PodDisruptionBudget/sums-rollout"),
    ]


def test_a_restarted_rollout_does_not_unmake_the_budget() -> None:
    cluster = FakeCluster(job=a_job(finalizers=(), rollout=TWO_ROLLOUTS))
    cluster.settled()
    cluster.fail(cluster.role("rollout")[0])
    plans = [cluster.look() for _ in range(3)]

    assert all(plan.delete_children == () for plan in plans)
    assert "PodDisruptionBudget/sums-rollout" in cluster.applied


# --- laws, for any state that pods can be in --------------------------------------------------------------------------


def a_state(role: Role, index: int) -> st.SearchStrategy[PodSeen | None]:
    ago = st.floats(0, 5).map(lambda seconds: NOW - seconds)
    placed = st.builds(lambda at, address: an_addressed_pod(role, index, placed_at=at, address=address), ago, ADDRESSES)
    ready = st.builds(lambda at: an_addressed_pod(role, index, placed_at=at, is_ready=True), ago)
    return st.one_of(st.none(), st.just(a_pending_pod(role, index)), placed, ready)


ADDRESSES = st.sampled_from(["", "10.0.0.1"])
PLACES: tuple[tuple[Role, int], ...] = (("learner", 0), ("rollout", 0), ("rollout", 1), ("reward", 0))
PODS = st.tuples(*(a_state(role, index) for role, index in PLACES)).map(
    lambda pods: tuple(pod for pod in pods if pod is not None)
)
RAN = st.none() | st.floats(0, 120).map(lambda seconds: NOW - seconds)


def a_state_of_a_job(pods: Iterable[PodSeen], ran: float | None, **fields: Any) -> Facts:
    status = a_status(started_at=LONG_AGO if ran else None, running_at=ran)
    return facts(a_job(status=status, rollout=TWO_ROLLOUTS), *pods, **fields)


@given(pods=PODS, ran=RAN, wait=st.floats(0, 200))
def test_what_is_due_stays_due(pods: tuple[PodSeen, ...], ran: float | None, wait: float) -> None:
    now, later = a_state_of_a_job(pods, ran), a_state_of_a_job(pods, ran, now=NOW + wait)

    for kind in ("Service", "PodDisruptionBudget"):
        assert due(kind, later) or not due(kind, now)


@given(pods=PODS, ran=RAN)
def test_what_waits_is_due_at_the_moment_that_was_told_and_the_job_is_looked_at_by_then(
    pods: tuple[PodSeen, ...], ran: float | None
) -> None:
    known = a_state_of_a_job(pods, ran)
    for kind, at in zip(("Service", "PodDisruptionBudget"), due_times(known), strict=True):
        if at is None:
            assert not due(kind, a_state_of_a_job(pods, ran, now=NOW + 1e6))
            continue
        assert due(kind, known) == (at <= NOW)
        assert due(kind, a_state_of_a_job(pods, ran, now=max(at, NOW)))
        if at > NOW:
            assert (look_again_after(known) or 1e9) <= max(at - NOW, 1.0)


@given(pods=PODS, ran=RAN)
def test_every_child_is_made_now_or_will_be_unless_it_is_there(pods: tuple[PodSeen, ...], ran: float | None) -> None:
    known = a_state_of_a_job(pods, ran)
    plan: Plan = reconcile(known.seen, KIT)
    if not plan.create:
        return

    assert sorted(map(child_key, (*plan.apply, *plan.later))) == sorted(map(child_key, children(known.job, KIT)))


@given(ran=st.floats(0, 120).map(lambda seconds: NOW - seconds))
def test_a_job_that_is_whole_lacks_nothing(ran: float) -> None:
    pods = [an_addressed_pod(role, index, is_ready=True) for role, index in PLACES]
    job = a_job(status=a_status(running_at=ran), rollout=TWO_ROLLOUTS)

    plan = reconcile(a_cluster(job, *pods), KIT)

    assert sorted(kinds(plan.apply)) == sorted(child["kind"] for child in children(job, KIT))


def kinds(manifests: Iterable[Manifest]) -> list[str]:
    return [manifest["kind"] for manifest in manifests]


def applied(job: Any, *, without: tuple[str, ...] = ()) -> dict[str, str]:
    found = {child_key(child): child["metadata"]["annotations"]["rlvr.dev/hash"] for child in children(job, KIT)}
    return {key: value for key, value in found.items() if key.partition("/")[0] not in without}

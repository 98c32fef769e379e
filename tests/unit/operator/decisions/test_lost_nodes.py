"""Nodes that fall silent, and pods that nobody is left to stop."""

from operator_builders import NOW, a_job, a_pod, a_status, an_unready_pod, facts, terminating
from operator_world import FakeCluster
from rlvr_api.contract import ANNOTATION_NEVER_FORCE
from rlvr_operator.alarms import look_again_after
from rlvr_operator.lifecycle.loss import loss_of
from rlvr_operator.lifecycle.lost import forced

GONE = frozenset({"node-0"})


def test_a_pod_stuck_on_a_lost_node_is_removed_by_force_a_minute_after_its_grace() -> None:
    stuck = terminating(a_pod(), until=NOW - 60)

    (deletion,) = forced(facts(a_job(), stuck, lost_nodes=GONE))

    assert (deletion.name, deletion.uid, deletion.grace_seconds) == (stuck.name, stuck.uid, 0)
    assert forced(facts(a_job(), stuck, lost_nodes=GONE, now=NOW - 1)) == ()


def test_a_pod_that_takes_its_time_on_a_healthy_node_is_left_to_it() -> None:
    assert forced(facts(a_job(), terminating(a_pod(), until=NOW - 1e6))) == ()


def test_whoever_forbids_force_is_obeyed() -> None:
    job = a_job(annotations={ANNOTATION_NEVER_FORCE: "true"})

    assert forced(facts(job, terminating(a_pod(), until=NOW - 1e6), lost_nodes=GONE)) == ()


def test_it_looks_again_when_force_is_due() -> None:
    stuck = terminating(a_pod("learner"), until=NOW - 10)

    assert look_again_after(facts(a_job(status=a_status(), deleted_at=NOW), stuck, lost_nodes=GONE)) == 50


def test_a_learner_on_a_silent_node_is_lost_after_a_minute_and_for_free() -> None:
    silent = an_unready_pod("learner", unready_since=NOW - 60)
    job = a_job(status=a_status())

    loss = loss_of(facts(job, silent, lost_nodes=GONE))

    assert loss is not None
    assert (loss.reason, loss.price) == ("Disrupted", "free")
    assert loss.message == "pod sums-learner-0-a0 was disrupted (its node node-0 is lost)"
    assert loss_of(facts(job, silent, lost_nodes=GONE, now=NOW - 1)) is None


def test_a_kubelet_that_restarts_costs_nothing() -> None:
    cluster = FakeCluster(job=a_job(finalizers=()))
    cluster.settled()
    cluster.lose("node-0")
    cluster.pass_time(50)
    cluster.settled()
    cluster.find("node-0")
    cluster.settled()

    assert cluster.job is not None
    assert (cluster.job.status.attempt, cluster.job.status.phase) == (0, "Running")
    assert cluster.made == 3


def test_a_job_whose_node_never_comes_back_runs_on_elsewhere() -> None:
    cluster = FakeCluster(job=a_job(finalizers=()))
    cluster.settled()
    cluster.lose("node-0")
    for _ in range(10):
        plan = cluster.look()
        cluster.live()
        cluster.pass_time(plan.look_again_seconds or 5)
    cluster.settled()

    assert cluster.job is not None
    assert (cluster.job.status.phase, cluster.job.status.restarts) == ("Running", 0)
    assert {pod.node for pod in cluster.pods.values()} == {"node-9"}

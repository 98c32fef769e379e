"""A job that a queue holds back waits whole."""

from operator_builders import a_job, a_pending_pod, a_pod, facts
from operator_world import FakeCluster
from rlvr_operator.lifecycle.admission import is_queued, waiting


def a_queued_cluster() -> FakeCluster:
    job = a_job(finalizers=(), scheduling={"queueName": "team-a"}, limits={"startupDeadlineSeconds": 60})
    cluster = FakeCluster(job=job, is_gated=True)
    cluster.settled()
    return cluster


def test_gated_learner_pods_mean_a_queue() -> None:
    gated = a_pending_pod("learner", is_gated=True)

    assert is_queued(facts(a_job(), gated))
    assert not is_queued(facts(a_job(), a_pod("learner")))
    assert not is_queued(facts(a_job(), gated, a_pod("learner", 1)))
    assert waiting(facts(a_job(), a_pod("learner"))) is None


def test_the_queue_is_shown_all_pods() -> None:
    cluster = a_queued_cluster()

    assert {pod.role for pod in cluster.pods.values()} == {"learner", "rollout", "reward"}
    assert cluster.job is not None
    assert cluster.job.status.phase == "Queued"
    assert cluster.job.status.message == "waits for queue team-a to admit its pods"
    answers = {it.type: (it.status, it.reason) for it in cluster.job.status.conditions}
    assert answers["Queued"] == ("True", "WaitingForAdmission")
    assert answers["Scheduled"] == ("False", "Gated")
    assert "Suspended" not in answers and "Restarting" not in answers


def test_no_deadline_runs_in_the_queue() -> None:
    cluster = a_queued_cluster()
    cluster.change_spec(limits=cluster.job.spec.limits.model_copy(update={"active_deadline_seconds": 60}))  # type: ignore[union-attr]
    cluster.settled()
    cluster.pass_time(1e6)

    assert cluster.settled() == 0
    assert cluster.job is not None
    assert cluster.job.status.active_since is None


def test_an_admitted_job_runs() -> None:
    cluster = a_queued_cluster()
    for pod in list(cluster.pods.values()):
        cluster.change(pod, is_gated=False)
    cluster.live()
    cluster.settled()

    assert cluster.job is not None
    assert cluster.job.status.phase == "Running"
    assert {it.type: it.reason for it in cluster.job.status.conditions}["Queued"] == "Admitted"


def test_gated_pods_that_a_queue_deletes_are_made_again_and_cost_nothing() -> None:
    cluster = a_queued_cluster()
    cluster.pods.clear()
    cluster.settled()

    assert cluster.job is not None
    assert (cluster.job.status.phase, cluster.job.status.attempt) == ("Queued", 0)
    assert len(cluster.pods) == 3


def test_a_job_that_a_queue_takes_back_queues_again_for_free_with_its_clock_stopped() -> None:
    cluster = a_queued_cluster()
    cluster.is_gated = False
    for pod in list(cluster.pods.values()):
        cluster.change(pod, is_gated=False)
    cluster.live()
    cluster.settled()
    cluster.pass_time(100)
    cluster.is_gated = True
    for pod in list(cluster.pods.values()):
        cluster.change(pod, is_disrupted=True, disruption="WorkloadEvictedDueToPreempted", deleted_at=cluster.now + 30)
    cluster.settled(with_kubelets=True)

    assert cluster.job is not None
    assert (cluster.job.status.phase, cluster.job.status.attempt, cluster.job.status.restarts) == ("Queued", 1, 0)
    assert cluster.job.status.active_seconds == 100


def test_a_gang_that_has_no_room_waits_whole_in_the_schedulers_words() -> None:
    cluster = FakeCluster(job=a_job(finalizers=()))
    cluster.look()
    for pod in list(cluster.pods.values()):
        cluster.change(pod, unschedulable="minMember is not fulfilled")
    cluster.settled()
    cluster.pass_time(1e6)

    assert cluster.settled() == 0
    assert cluster.job is not None
    assert cluster.job.status.phase == "Pending"
    assert cluster.job.status.message == "pod sums-learner-0-a0 cannot be placed: minMember is not fulfilled"


def test_the_base_gang_stays_the_same_when_rollouts_are_scaled() -> None:
    rollout = {"engine": "local", "sampling": {"maxTokens": 64}, "replicas": 4, "min": 2}
    small = facts(a_job(rollout=rollout))
    large = facts(a_job(rollout={**rollout, "replicas": 9}))

    assert [small.needed(role) for role in ("learner", "rollout", "reward")] == [1, 2, 1]
    assert [large.needed(role) for role in ("learner", "rollout", "reward")] == [1, 2, 1]

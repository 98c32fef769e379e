"""Pods that have ended but that a gang scheduler keeps, waiting for replacements that may never come."""

from dataclasses import replace

from operator_builders import NOW, a_cluster, a_condition, a_failed_pod, a_job, a_pod, a_status, an_unready_pod
from rlvr_operator.observed import PodSeen, Role
from rlvr_operator.plan import ChildDeletion
from rlvr_operator.reconcile import reconcile
from workload_builders import KIT

KUEUE = replace(KIT, gang_apis=frozenset({"kueue.x-k8s.io/v1beta1"}))
QUEUED = {"gang": "kueue", "queueName": "team-a"}
WORKLOAD = ChildDeletion(kind="Workload", name="sums-job-uid", api_version="kueue.x-k8s.io/v1beta1")


def a_remnant(role: Role, *, attempt: int = 0) -> PodSeen:
    return a_failed_pod(role, attempt=attempt, code=143, is_held=True, deleted_at=NOW)


def test_the_next_attempt_does_not_wait_for_pods_that_only_a_finalizer_keeps() -> None:
    job = a_job(status=a_status(attempt=1, started_at=None, running_at=None), scheduling=QUEUED)

    plan = reconcile(a_cluster(job, a_remnant("learner"), a_pod(), a_pod("reward")), KUEUE)

    assert [pod["metadata"]["name"] for pod in plan.create] == ["sums-learner-0-a1"]
    assert plan.delete_pods == ()


def test_a_gated_pod_that_never_had_a_node_is_kept_by_kueue_too_and_nobody_waits_for_it() -> None:
    job = a_job(suspend=True, status=a_status(), scheduling=QUEUED)
    gated = an_unready_pod(
        "rollout", phase="Pending", is_gated=True, is_placed=False, node="", is_held=True, deleted_at=NOW
    )

    assert reconcile(a_cluster(job, a_remnant("learner"), gated), KUEUE).delete_children == (WORKLOAD,)


def test_it_does_wait_for_a_pod_that_still_runs_whatever_keeps_it() -> None:
    job = a_job(status=a_status(attempt=1, started_at=None, running_at=None), scheduling=QUEUED)
    saving = a_pod("learner", is_held=True, deleted_at=NOW + 30)

    assert reconcile(a_cluster(job, saving, a_pod(), a_pod("reward")), KUEUE).create == ()


def test_a_suspended_job_has_its_workload_deleted_once_nothing_runs() -> None:
    job = a_job(suspend=True, status=a_status(), scheduling=QUEUED)

    assert reconcile(a_cluster(job, a_remnant("learner"), a_pod()), KUEUE).delete_children == ()
    assert reconcile(a_cluster(job, a_remnant("learner"), a_remnant("rollout")), KUEUE).delete_children == (WORKLOAD,)
    assert reconcile(a_cluster(job), KUEUE).delete_children == ()


def test_a_finished_job_has_its_workload_deleted_once_and_keeps_its_learner_pods() -> None:
    job = a_job(status=a_status(conditions=(a_condition("Complete"),)), scheduling=QUEUED)
    learner = a_failed_pod("learner", code=0, is_held=True)

    first = reconcile(a_cluster(job, learner, a_remnant("rollout")), KUEUE)
    then = reconcile(a_cluster(job, learner), KUEUE)

    assert first.delete_children == (WORKLOAD,)
    assert then.delete_children == () and then.delete_pods == ()


def test_a_deleted_job_takes_its_workload_along() -> None:
    job = a_job(deleted_at=NOW, status=a_status(), scheduling=QUEUED)

    assert reconcile(a_cluster(job, a_pod()), KUEUE).delete_children == (WORKLOAD,)

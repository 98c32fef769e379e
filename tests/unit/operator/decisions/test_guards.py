"""Jobs that are left alone."""

from dataclasses import replace

from operator_builders import BASE, a_cluster, a_failed_pod, a_job, a_pod, a_status
from rlvr_operator.plan import Plan
from rlvr_operator.reconcile import reconcile
from workload_builders import KIT


def test_a_job_of_another_controller_is_not_touched() -> None:
    job = a_job(managed_by="kueue.x-k8s.io/multikueue", deleted_at=1.0)

    assert reconcile(a_cluster(job, *BASE), KIT) == Plan()


def test_an_old_copy_of_a_job_whose_pods_are_of_a_newer_attempt_is_not_acted_upon() -> None:
    job = a_job(status=a_status(attempt=1))

    assert reconcile(a_cluster(job, a_pod("learner", attempt=2)), KIT) == Plan()


def test_a_job_that_breaks_rules_gets_the_reason_and_no_pods() -> None:
    job = replace(a_job(), spec=None, problems=("spec.rollout.replicas is 0: must be at least 1.",))

    plan = reconcile(a_cluster(job), KIT)

    assert plan.create == plan.apply == ()
    assert plan.status is not None
    assert (plan.status.phase, plan.status.message) == ("Pending", "spec.rollout.replicas is 0: must be at least 1.")
    assert [event.reason for event in plan.events] == ["InvalidSpec"]


def test_pods_of_a_job_that_was_edited_into_something_invalid_run_on() -> None:
    job = replace(a_job(status=a_status()), spec=None, problems=("spec.limits: no",))

    plan = reconcile(a_cluster(job, *BASE), KIT)

    assert plan.delete_pods == ()
    assert plan.status is not None
    assert plan.status.attempt == 0
    assert plan.status.start_time is not None


def test_a_job_that_could_not_be_built_today_still_completes_and_can_be_suspended() -> None:
    gang = {"scheduling": {"gang": "native"}}
    done = a_cluster(a_job(status=a_status(), **gang), a_failed_pod("learner", code=0))
    resting = a_cluster(a_job(status=a_status(), suspend=True, **gang), *BASE)
    going_on = a_cluster(a_job(status=a_status(), **gang), *BASE)

    complete, suspended, left = (reconcile(seen, KIT) for seen in (done, resting, going_on))

    assert complete.status is not None and complete.status.phase == "Succeeded"
    assert [it.name for it in suspended.delete_pods] == ["sums-learner-0-a0"]
    assert left.create == left.delete_pods == ()
    assert left.status is not None and left.status.phase == "Running"


def test_a_gang_that_the_cluster_cannot_make_is_a_problem_that_says_so() -> None:
    plan = reconcile(a_cluster(a_job(scheduling={"gang": "native"})), KIT)

    assert plan.create == ()
    assert plan.status is not None and plan.status.message is not None
    assert "gang" in plan.status.message

"""Making what is missing, and what the API server refuses."""

from dataclasses import replace

from operator_builders import BASE, NOW, a_cluster, a_job, a_pod, a_status, an_unready_pod, facts
from operator_world import FakeCluster
from rlvr_operator.alarms import look_again_after
from rlvr_operator.lifecycle.strength import running
from rlvr_operator.observed import Refusal
from rlvr_operator.reconcile import reconcile
from rlvr_operator.workloads import Member
from workload_builders import KIT

QUOTA = Refusal(
    what="Pod/sums-rollout-0-a0", code=403, message="exceeded quota: gpus, requested: 8, limited: 4", at=NOW - 10
)
TEMPLATE = Refusal(
    what="Pod/sums-rollout-0-a0", code=422, message="spec.containers[0].image: Required value", at=NOW - 10
)


def test_a_new_job_gets_its_finalizer_children_and_pods_in_one_plan() -> None:
    plan = reconcile(a_cluster(a_job(finalizers=())), KIT)

    assert plan.finalizer == "add"
    assert [child["kind"] for child in plan.apply] == ["ConfigMap", "NetworkPolicy", "NetworkPolicy"]
    assert [child["kind"] for child in plan.later] == ["Service"]
    names = [pod["metadata"]["name"] for pod in plan.create]
    assert names == ["sums-learner-0-a0", "sums-rollout-0-a0", "sums-reward-0-a0"]


def test_a_job_at_strength_needs_nothing() -> None:
    intent = running(facts(a_job(status=a_status()), *BASE))

    assert intent.create == intent.delete == ()


def test_pods_of_an_older_attempt_go_before_any_of_the_next_is_made() -> None:
    job = a_job(status=a_status(attempt=2, started_at=None, running_at=None))

    intent = running(facts(job, a_pod("learner", attempt=1), a_pod(), a_pod("reward")))
    assert [it.name for it in intent.delete] == ["sums-learner-0-a1"]
    assert intent.create == ()

    intent = running(facts(job, a_pod(), a_pod("reward")))
    assert intent.create == (Member(role="learner", index=0, attempt=2),)


def test_after_a_refusal_nothing_is_made_for_half_a_minute() -> None:
    job = a_job(status=a_status(started_at=None))

    held = running(facts(job, a_pod("learner"), refusals=(QUOTA,)))
    later = running(facts(job, a_pod("learner"), refusals=(QUOTA,), now=NOW + 20))

    assert held.create == () and not held.keeps_children
    assert len(later.create) == 2
    assert look_again_after(facts(job, a_pod("learner"), refusals=(QUOTA,))) == 20


def test_the_last_of_several_refusals_decides_when_to_try_again() -> None:
    older = replace(QUOTA, what="Pod/sums-reward-0-a0", at=NOW - 29)

    assert running(facts(a_job(status=a_status(started_at=None)), refusals=(older, QUOTA), now=NOW + 19)).create == ()


def test_a_failed_pod_is_not_deleted_while_its_successor_could_not_be_made() -> None:
    cluster = FakeCluster(job=a_job(finalizers=()))
    cluster.settled()
    (rollout,) = cluster.role("rollout")
    cluster.fail(rollout)
    cluster.refusals = (QUOTA,)
    cluster.settled()

    assert cluster.role("rollout")[0].name == rollout.name


def test_a_full_quota_is_told_in_the_servers_words() -> None:
    plan = reconcile(a_cluster(a_job(), refusals=(QUOTA,)), KIT)

    assert plan.status is not None
    assert plan.status.phase == "Pending"
    assert plan.status.message == ("Pod/sums-rollout-0-a0 was refused: exceeded quota: gpus, requested: 8, limited: 4")
    (scheduled,) = (it for it in plan.status.conditions if it.type == "Scheduled")
    assert (scheduled.status, scheduled.reason) == ("False", "QuotaExceeded")


def test_a_pod_that_the_server_will_never_take_makes_the_job_invalid() -> None:
    plan = reconcile(a_cluster(a_job(), refusals=(TEMPLATE,)), KIT)

    assert plan.status is not None
    (validated,) = (it for it in plan.status.conditions if it.type == "Validated")
    assert (validated.status, validated.reason) == ("False", "Refused")
    assert "spec.containers[0].image: Required value" in validated.message


TAKEN = Refusal(
    what="Service/sums", code=409, message="Service sums is there already and is left alone: delete it", at=NOW - 10
)


def test_a_name_that_somebody_has_is_told_in_plain_words() -> None:
    plan = reconcile(a_cluster(a_job(), refusals=(TAKEN,)), KIT)

    assert plan.status is not None and plan.create == ()
    (scheduled,) = (it for it in plan.status.conditions if it.type == "Scheduled")
    assert (scheduled.status, scheduled.reason) == ("False", "NameTaken")
    assert scheduled.message == plan.status.message == TAKEN.message
    assert ("Warning", "NameTaken") in [(event.type, event.reason) for event in plan.events]


def test_of_several_refusals_a_role_is_told_its_own() -> None:
    reward = replace(QUOTA, what="Pod/sums-reward-0-a0", message="reward: no")
    plan = reconcile(a_cluster(a_job(), refusals=(QUOTA, reward)), KIT)

    assert plan.status is not None
    messages = {it.type: it.message for it in plan.status.conditions}
    assert messages["RewardReady"].endswith("Pod/sums-reward-0-a0 was refused: reward: no")
    assert messages["RolloutsReady"].endswith(f"Pod/sums-rollout-0-a0 was refused: {QUOTA.message}")


def test_a_job_that_is_not_valid_says_that_its_pods_wait_for_that() -> None:
    plan = reconcile(a_cluster(a_job(scheduling={"gang": "native"})), KIT)

    assert plan.status is not None
    (scheduled,) = (it for it in plan.status.conditions if it.type == "Scheduled")
    assert (scheduled.reason, scheduled.message) == (
        "NotMade",
        "no pod is made before what Validated says is put right",
    )


def test_a_policy_that_forbids_is_not_taken_for_a_malformed_pod_although_its_code_is_the_same() -> None:
    words = "pods \"sums-reward-0-a0\" is forbidden: ValidatingAdmissionPolicy 'tickets' denied request: no ticket"
    plan = reconcile(a_cluster(a_job(), refusals=(replace(TEMPLATE, message=words),)), KIT)

    assert plan.status is not None
    answers = {it.type: (it.status, it.reason) for it in plan.status.conditions}
    assert (answers["Validated"], answers["Scheduled"]) == (("True", "Valid"), ("False", "Refused"))


def test_a_refusal_that_is_not_repeated_is_forgotten_after_five_minutes() -> None:
    plan = reconcile(a_cluster(a_job(status=a_status()), *BASE, refusals=(QUOTA,), now=NOW + 300), KIT)

    assert plan.status is not None
    assert plan.status.phase == "Running"


def test_children_are_applied_only_when_they_differ() -> None:
    cluster = FakeCluster(job=a_job(finalizers=()))
    cluster.settled()
    service = next(name for name in cluster.applied if name.startswith("Service/"))
    cluster.applied[service] = "an older form"

    plan = cluster.look()

    assert [f"{child['kind']}/{child['metadata']['name']}" for child in plan.apply] == [service]


def test_children_that_are_not_wanted_any_more_are_deleted() -> None:
    cluster = FakeCluster(job=a_job(finalizers=()))
    cluster.settled()
    cluster.applied["PodGroup/sums-old"] = "x"

    plan = cluster.look()

    assert [(it.kind, it.name) for it in plan.delete_children] == [("PodGroup", "sums-old")]
    assert cluster.settled() == 0


def test_pods_beside_a_gang_wait_until_the_gang_has_its_nodes() -> None:
    job = a_job(status=a_status(started_at=None), scheduling={"gang": "native"}, rollout={"replicas": 3, "min": 1})
    pending = an_unready_pod("rollout", phase="Pending", is_placed=False, node="")

    first = running(facts(job))
    waiting = running(facts(job, a_pod("learner"), a_pod("reward"), pending))
    placed = running(facts(job, *BASE))

    assert [(it.role, it.index) for it in first.create] == [("learner", 0), ("rollout", 0), ("reward", 0)]
    assert waiting.create == ()
    assert [(it.role, it.index) for it in placed.create] == [("rollout", 1), ("rollout", 2)]


def test_without_a_gang_every_pod_is_made_at_once() -> None:
    job = a_job(status=a_status(started_at=None), rollout={"replicas": 3, "min": 1})

    assert len(running(facts(job)).create) == 5

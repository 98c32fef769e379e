"""Who starts together, and how each scheduler is told."""

from dataclasses import replace
from typing import Any

import pytest

from rlvr_operator.observed import JobSeen
from rlvr_operator.plan import ChildDeletion
from rlvr_operator.workloads import GANG_APIS, Member, child_key, children, gang_problem, gang_remains
from rlvr_operator.workloads.gangs import gang_of, is_in_gang
from workload_builders import KIT, a_pod, a_seen_job, a_vllm_job, all_pods

NAME = "sums-0a1b2c3d"
QUEUE = "kueue.x-k8s.io/queue-name"
APIS = {
    "kueue": "kueue.x-k8s.io/v1beta1",
    "native": "scheduling.k8s.io/v1alpha2",
    "coscheduling": "scheduling.x-k8s.io/v1alpha1",
    "volcano": "scheduling.volcano.sh/v1beta1",
}


def a_gang_job(gang: str, **scheduling: str) -> JobSeen:
    """Two learners, two of four rollouts and one of two rewards are the gang: five of eight pods."""
    scheduling = {"gang": gang, **({"queueName": "gpus"} if gang == "kueue" else {}), **scheduling}
    return a_vllm_job(
        rollout={"replicas": 4, "min": 2},
        reward={"replicas": 2, "verifiers": [{"exact": {"answerAfter": "#"}}]},
        learner={"nodes": 2, "backend": {"deepspeed": {}}},
        scheduling=scheduling,
    )


def members_and_others(job: JobSeen) -> tuple[list[Any], list[Any]]:
    pods = all_pods(job)
    inside = {f"{job.name}-{name}-a0" for name in ("learner-0", "learner-1", "rollout-0", "rollout-1", "reward-0")}
    return (
        [manifest for manifest in pods if manifest["metadata"]["name"] in inside],
        [manifest for manifest in pods if manifest["metadata"]["name"] not in inside],
    )


def pod_group(job: JobSeen, *, name: str = NAME) -> Any:
    (group,) = [child for child in children(job, KIT) if child["kind"] == "PodGroup"]
    assert child_key(group) == f"PodGroup/{name}"
    return group


def test_the_gang_is_all_learners_the_minimum_of_rollouts_and_one_reward() -> None:
    job = a_gang_job("native")
    places = [("learner", 0), ("learner", 1), ("rollout", 1), ("rollout", 2), ("reward", 0), ("reward", 1)]

    assert gang_of(job).size == 5
    assert [is_in_gang(job, Member(role=role, index=index)) for role, index in places] == [  # type: ignore[arg-type]
        *(True, True, True, False, True, False)
    ]


@pytest.mark.parametrize("gang", [*APIS, "none"])
def test_as_many_pods_are_members_as_the_gang_waits_for(gang: str) -> None:
    job = a_gang_job(gang)

    pods = [Member(role=role, index=i) for role, n in (("learner", 2), ("rollout", 4), ("reward", 2)) for i in range(n)]  # type: ignore[arg-type]

    assert sum(is_in_gang(job, member) for member in pods) == gang_of(job).size


def test_a_later_job_of_the_same_name_is_another_gang() -> None:
    assert gang_of(a_seen_job()).name != gang_of(a_seen_job(uid="ffffffff-0000-4000-8000-000000000002")).name


def test_kueue_admits_the_group_whole_and_every_other_pod_by_itself() -> None:
    members, others = members_and_others(a_gang_job("kueue"))

    for manifest in members:
        assert manifest["metadata"]["labels"]["kueue.x-k8s.io/pod-group-name"] == NAME
        assert manifest["metadata"]["annotations"]["kueue.x-k8s.io/pod-group-total-count"] == "5"
    assert {manifest["metadata"]["labels"][QUEUE] for manifest in (*members, *others)} == {"gpus"}
    assert all("kueue.x-k8s.io/pod-group-name" not in manifest["metadata"]["labels"] for manifest in others)


def test_a_queue_without_a_gang_admits_pods_one_by_one() -> None:
    pods = all_pods(a_gang_job("none", queueName="gpus"))

    assert {manifest["metadata"]["labels"][QUEUE] for manifest in pods} == {"gpus"}
    assert all("kueue.x-k8s.io/pod-group-name" not in manifest["metadata"]["labels"] for manifest in pods)


def test_no_queue_and_no_gang_leave_no_mark() -> None:
    assert all(len(manifest["metadata"]["labels"]) == 5 for manifest in all_pods(a_gang_job("none")))


def test_kubernetes_own_gang_is_a_group_and_a_reference() -> None:
    job = a_gang_job("native")
    members, others = members_and_others(job)

    group = pod_group(job, name=f"{NAME}-5")
    assert group["apiVersion"] == "scheduling.k8s.io/v1alpha2"
    assert group["spec"] == {"schedulingPolicy": {"gang": {"minCount": 5}}}
    assert all(manifest["spec"]["schedulingGroup"] == {"podGroupName": f"{NAME}-5"} for manifest in members)
    assert all("schedulingGroup" not in manifest["spec"] for manifest in others)


def test_coscheduling_is_a_group_and_a_label() -> None:
    job = a_gang_job("coscheduling")
    members, others = members_and_others(job)

    assert (pod_group(job)["apiVersion"], pod_group(job)["spec"]) == ("scheduling.x-k8s.io/v1alpha1", {"minMember": 5})
    assert all(manifest["metadata"]["labels"]["scheduling.x-k8s.io/pod-group"] == NAME for manifest in members)
    assert all("scheduling.x-k8s.io/pod-group" not in manifest["metadata"]["labels"] for manifest in others)


def test_volcano_schedules_all_pods_and_holds_the_gang_together() -> None:
    job = a_gang_job("volcano", queueName="gpus", priorityClassName="high")
    members, others = members_and_others(job)

    assert pod_group(job)["spec"] == {"minMember": 5, "queue": "gpus", "priorityClassName": "high"}
    assert all(manifest["metadata"]["annotations"]["scheduling.k8s.io/group-name"] == NAME for manifest in members)
    assert all(manifest["metadata"]["annotations"]["scheduling.volcano.sh/queue-name"] == "gpus" for manifest in others)
    assert {manifest["spec"]["schedulerName"] for manifest in (*members, *others)} == {"volcano"}


@pytest.mark.parametrize("gang", APIS)
def test_a_gang_whose_api_is_absent_is_a_problem_with_a_way_out(gang: str) -> None:
    problem = gang_problem(a_gang_job(gang), KIT)

    assert problem is not None
    assert problem.startswith(f"scheduling.gang is {gang}, which needs the API ")
    assert APIS[gang] in problem
    assert "set scheduling.gang to none" in problem


@pytest.mark.parametrize("gang", APIS)
def test_a_gang_whose_api_is_there_is_none(gang: str) -> None:
    assert gang_problem(a_gang_job(gang), replace(KIT, gang_apis=frozenset({APIS[gang]}))) is None


def test_another_version_of_the_api_is_no_help() -> None:
    kit = replace(KIT, gang_apis=frozenset({"scheduling.k8s.io/v1beta1"}))

    assert gang_problem(a_gang_job("native"), kit) == (
        "scheduling.gang is native, which needs the API scheduling.k8s.io/v1alpha2, and this cluster does not serve "
        "it: turn on Kubernetes 1.36's feature gates for gang scheduling, or suspend the job and set scheduling.gang "
        "to none"
    )


def test_no_gang_needs_no_api() -> None:
    assert gang_problem(a_gang_job("none"), KIT) is None


def test_kubernetes_own_gang_of_another_size_is_another_group_for_a_group_never_changes() -> None:
    job = a_gang_job("native")
    assert job.spec is not None
    larger = replace(job, spec=job.spec.model_copy(update={"rollout": job.spec.rollout.model_copy(update={"min": 3})}))

    assert pod_group(larger, name=f"{NAME}-6")["spec"]["schedulingPolicy"]["gang"] == {"minCount": 6}


def test_discovery_looks_for_every_api_that_a_gang_may_need_and_for_the_kind_in_it() -> None:
    assert {GANG_APIS[api] for gang, api in APIS.items() if gang != "kueue"} == {"PodGroup"}
    assert GANG_APIS[APIS["kueue"]] == "Workload"


def test_only_kueue_holds_on_to_ended_pods() -> None:
    kit = replace(KIT, gang_apis=frozenset(GANG_APIS) - {"kueue.x-k8s.io/v1beta2"})

    workload = ChildDeletion(kind="Workload", name=NAME, api_version="kueue.x-k8s.io/v1beta1")
    assert gang_remains(a_gang_job("kueue"), kit) == (workload,)
    assert all(gang_remains(a_gang_job(gang), kit) == () for gang in (*APIS, "none") if gang != "kueue")


def test_a_new_attempt_and_a_replacement_belong_to_the_same_gang() -> None:
    job = a_gang_job("kueue")
    label = "kueue.x-k8s.io/pod-group-name"

    names = {
        a_pod(job, role, 0, attempt=attempt)["metadata"]["labels"][label]
        for role, attempt in (("learner", 9), ("rollout", 3))
    }

    assert names == {NAME}


def test_a_templates_own_marks_lose_against_the_gangs() -> None:
    learner = {"template": {"spec": {"schedulerName": "mine"}}}

    manifest = a_pod(a_seen_job(learner=learner, scheduling={"gang": "volcano"}), "learner")

    assert manifest["spec"]["schedulerName"] == "volcano"

"""Everything of a job but its pods."""

import json

import pytest

from rlvr_api import RLVRJob
from rlvr_operator.plan import Manifest
from rlvr_operator.workloads import HASH, child_key, children, conflicts
from rlvr_operator.workloads.names import with_hash
from workload_builders import KIT, UID, a_seen_job, a_vllm_job


def found(job_children: tuple[Manifest, ...], key: str) -> Manifest:
    return next(child for child in job_children if child_key(child) == key)


def test_the_smallest_job_has_four_children() -> None:
    assert [child_key(child) for child in children(a_seen_job(), KIT)] == [
        "ConfigMap/sums",
        "Service/sums",
        "NetworkPolicy/sums",
        "NetworkPolicy/sums-reward",
    ]


def test_a_large_job_adds_collectives_and_a_budget() -> None:
    job = a_vllm_job(
        rollout={"replicas": 2},
        learner={"nodes": 2, "gpusPerNode": 8, "backend": {"deepspeed": {}}},
    )

    assert [child_key(child) for child in children(job, KIT)[4:]] == [
        "NetworkPolicy/sums-learner",
        "PodDisruptionBudget/sums-rollout",
    ]


def test_children_go_with_the_job() -> None:
    (owner,) = children(a_seen_job(), KIT)[0]["metadata"]["ownerReferences"]

    assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == ("RLVRJob", "sums", UID, True)


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    child = {"kind": "Service", "metadata": {"name": "a", "labels": {"x": "1", "y": "2"}}, "spec": {"p": 1, "q": 2}}
    turned = {"spec": {"q": 2, "p": 1}, "metadata": {"labels": {"y": "2", "x": "1"}, "name": "a"}, "kind": "Service"}

    assert with_hash(child) == with_hash(turned)
    assert with_hash(child)["metadata"]["annotations"][HASH] == "2d9be048cd9fcc13"


def test_the_hash_follows_every_change_and_nothing_else() -> None:
    before, same = children(a_seen_job(), KIT), children(a_seen_job(), KIT)
    scaled = children(a_seen_job(rollout={"engine": "local", "replicas": 2, "sampling": {"maxTokens": 64}}), KIT)

    assert before == same
    assert [child_key(b) for b, s in zip(before, scaled, strict=False) if b != s] == ["ConfigMap/sums"]


def test_suspending_a_job_rewrites_none_of_its_children() -> None:
    assert children(a_seen_job(suspend=True), KIT) == children(a_seen_job(), KIT)


def test_the_job_file_is_a_job_that_the_trainer_reads_as_it_was_written() -> None:
    job = a_seen_job(algorithm={"preset": "archer"})

    text = found(children(job, KIT), "ConfigMap/sums")["data"]["job.json"]

    read = RLVRJob.model_validate_json(text)
    assert read.spec == job.spec
    assert (read.metadata.name, read.metadata.namespace, read.metadata.uid) == ("sums", "research", UID)


def test_peers_are_all_replicas_there_may_be() -> None:
    rollout = {"engine": "local", "replicas": 2, "max": 3, "sampling": {"maxTokens": 64}}
    job = a_seen_job(rollout=rollout)

    peers = json.loads(found(children(job, KIT), "ConfigMap/sums")["data"]["peers.json"])

    assert peers == {
        "rollouts": [f"http://rollout-{i}.sums.research.svc.cluster.local:8471" for i in range(3)],
        "rewards": ["http://reward-0.sums.research.svc.cluster.local:8472"],
    }


def test_whom_to_trust_is_the_cluster_for_this_job_only() -> None:
    assert json.loads(found(children(a_seen_job(), KIT), "ConfigMap/sums")["data"]["trust.json"]) == {
        "issuer": "https://issuer.example",
        "audience": UID,
        "namespace": "research",
        "operator": "system:serviceaccount:rlvr-system:rlvr-operator",
        "jwks": {"keys": []},
    }


def test_names_work_before_pods_are_ready() -> None:
    spec = found(children(a_seen_job(), KIT), "Service/sums")["spec"]

    assert (spec["clusterIP"], spec["publishNotReadyAddresses"]) == ("None", True)


def test_a_budget_lets_one_rollout_go_and_never_holds_a_broken_one() -> None:
    budget = found(children(a_vllm_job(rollout={"replicas": 3}), KIT), "PodDisruptionBudget/sums-rollout")["spec"]

    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")
    assert budget["selector"]["matchLabels"] == {"rlvr.dev/job": "sums", "rlvr.dev/role": "rollout"}


@pytest.mark.parametrize("name", ["a", "a" * 40])
def test_names_fit_where_they_are_used(name: str) -> None:
    job = a_vllm_job(rollout={"replicas": 2}, learner={"nodes": 2, "backend": {"deepspeed": {}}})
    named = a_seen_job(name=name, rollout={"engine": "local", "replicas": 2, "sampling": {"maxTokens": 64}})

    assert conflicts(job.spec) == () if job.spec else False
    assert all(len(child["metadata"]["name"]) <= 63 for child in children(named, KIT))

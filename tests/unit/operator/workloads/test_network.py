"""Who may talk to whom."""

from dataclasses import replace
from typing import Any

import pytest

from rlvr_operator.observed import JobSeen
from rlvr_operator.workloads import Kit, child_key, children
from workload_builders import KIT, a_seen_job, a_vllm_job

ROLES = ("learner", "rollout", "reward")
PORTS = {8470: "learner", 8471: "rollout", 8472: "reward", 8473: "learner"}
"""Where each port is open."""


def policies(job: JobSeen, kit: Kit = KIT) -> list[dict[str, Any]]:
    return [child["spec"] for child in children(job, kit) if child["kind"] == "NetworkPolicy"]


def may_reach(job: JobSeen, who: dict[str, Any], role: str, port: int, *, kit: Kit = KIT) -> bool:
    """What the policies say about traffic from a peer to `port` of a pod of `role`; policies add up."""
    to = {"rlvr.dev/job": job.name, "rlvr.dev/role": role}
    rules = [
        rule
        for policy in policies(job, kit)
        if selects(policy["podSelector"], to)
        for rule in policy.get("ingress", [])
    ]
    return any(
        any(matches(peer, who) for peer in rule["from"])
        and any(is_within(item, port) for item in rule.get("ports", [{"port": port}]))
        for rule in rules
    )


def is_within(item: dict[str, Any], port: int) -> bool:
    first: int = item["port"]
    last: int = item.get("endPort", first)
    return first <= port <= last


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    expressions = selector.get("matchExpressions", [])
    return selector["matchLabels"].items() <= labels.items() and all(
        labels.get(item["key"]) in item["values"] for item in expressions if item["operator"] == "In"
    )


def matches(peer: dict[str, Any], who: dict[str, Any]) -> bool:
    if "namespaceSelector" in peer:
        return selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": who["namespace"]})
    return who["namespace"] == "research" and selects(peer["podSelector"], who["labels"])


def a_peer(role: str, *, job: str = "sums") -> dict[str, Any]:
    return {"namespace": "research", "labels": {"rlvr.dev/job": job, "rlvr.dev/role": role}}


def test_inside_a_job_only_these_three_ways_are_open() -> None:
    job = a_seen_job()

    ways = {
        (who, role, port)
        for who in ROLES
        for role in ROLES
        for port in (*PORTS, 8000, 29400)
        if PORTS.get(port) == role and may_reach(job, a_peer(who), role, port)
    }

    assert ways == {("learner", "rollout", 8471), ("learner", "reward", 8472), ("rollout", "learner", 8470)}


@pytest.mark.parametrize("who", [*(a_peer(role) for role in ROLES), {"namespace": "rlvr-system", "labels": {}}])
def test_nobody_reaches_an_engine(who: dict[str, Any]) -> None:
    assert not may_reach(a_vllm_job(), who, "rollout", 8000)


@pytest.mark.parametrize("port", [*PORTS, 8000])
@pytest.mark.parametrize("who", [a_peer("learner", job="other"), {"namespace": "elsewhere", "labels": {}}])
def test_other_jobs_and_other_namespaces_reach_nothing(who: dict[str, Any], port: int) -> None:
    assert not any(may_reach(a_seen_job(), who, role, port) for role in ROLES)


def test_the_operator_asks_the_coordinator_for_progress_and_nobody_for_anything_else() -> None:
    operator = {"namespace": "rlvr-system", "labels": {}}

    assert [port for port in PORTS if may_reach(a_seen_job(), operator, PORTS[port], port)] == [8470]


def test_prometheus_reaches_the_metrics_when_its_namespace_is_known() -> None:
    prometheus, kit = {"namespace": "monitoring", "labels": {}}, replace(KIT, monitoring_namespace="monitoring")

    assert not may_reach(a_seen_job(), prometheus, "learner", 8473)
    assert all(may_reach(a_seen_job(), prometheus, role, port, kit=kit) for port, role in PORTS.items())


def test_learners_talk_on_any_port_only_when_there_are_several() -> None:
    many = a_seen_job(learner={"nodes": 2, "backend": {"deepspeed": {}}})

    assert may_reach(many, a_peer("learner"), "learner", 29400)
    assert not may_reach(many, a_peer("rollout"), "learner", 29400)
    assert not may_reach(a_seen_job(), a_peer("learner"), "learner", 29400)


BROADCASTS = {"rollout": {"weightTransfer": "nccl"}, "learner": {"gpusPerNode": 1}}


def test_learner_and_rollouts_meet_for_broadcasts_only_where_the_job_asks_for_them() -> None:
    there = {
        (who, role, port)
        for who in ROLES
        for role in ROLES
        for port in (1024, 8000, 29400, 32767, 32768, 60999, 61000)
        if may_reach(a_vllm_job(**BROADCASTS), a_peer(who), role, port)
    }

    pairs = {(who, role) for who in ("learner", "rollout") for role in ("learner", "rollout")}
    assert there == {(*pair, port) for pair in pairs for port in (32768, 60999)}
    assert not any(may_reach(a_vllm_job(), a_peer(who), role, 40000) for who in ROLES for role in ROLES)
    assert not may_reach(a_vllm_job(**BROADCASTS), a_peer("learner", job="other"), "rollout", 40000)


def egress_of(job: JobSeen) -> Any:
    (policy,) = [p for p in policies(job) if p["policyTypes"] == ["Egress"]]
    assert policy["podSelector"]["matchLabels"] == {"rlvr.dev/job": "sums", "rlvr.dev/role": "reward"}
    return policy.get("egress", [])


def test_rewards_reach_nothing_not_even_a_name_server() -> None:
    assert egress_of(a_seen_job()) == []


@pytest.mark.parametrize(
    ("url", "port"), [("http://judge.example/score", 80), ("https://judge.example", 443), ("http://judge:9000/x", 9000)]
)
def test_a_verifier_that_is_a_service_opens_its_port_and_dns(url: str, port: int) -> None:
    (rule,) = egress_of(a_seen_job(reward={"verifiers": [{"http": {"url": url}}]}))

    assert [(item["port"], item["protocol"]) for item in rule["ports"]] == [(53, "UDP"), (53, "TCP"), (port, "TCP")]


def test_every_policy_is_of_this_job() -> None:
    names = [child_key(child) for child in children(a_seen_job(name="other"), KIT) if child["kind"] == "NetworkPolicy"]

    assert names == ["NetworkPolicy/other", "NetworkPolicy/other-reward"]

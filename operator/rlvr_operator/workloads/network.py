"""Who may talk to whom: one headless Service for addresses, NetworkPolicies for the rest.

    learner (coordinator) -> agents 8471, rewards 8472        rollout -> coordinator 8470 (policies)
    operator -> coordinator 8470 (progress)                   Prometheus -> 8470, 8471, 8472, 8473 (metrics)
    learner <-> learner, any port (collectives)               reward -> nobody, not even DNS
    learner <-> rollout <-> rollout, 32768-60999 (broadcasts of weights, only with rollout.weightTransfer nccl)

The engine's port is in no rule, and it listens on loopback besides.  Whether a policy is enforced is up to the
cluster's network plugin.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from rlvr_api import RLVRJobSpec, contract
from rlvr_operator.observed import JobSeen
from rlvr_operator.plan import Manifest
from rlvr_operator.workloads.kit import Kit
from rlvr_operator.workloads.names import child_metadata, selector_of, spec_of

_METRICS: Final = (contract.PORT_COORDINATOR, contract.PORT_AGENT, contract.PORT_REWARD, contract.PORT_LEARNER)
_NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"
_DNS: Final = 53
_EPHEMERAL: Final = (32768, 60999)
"""Where NCCL listens: it takes ports from the kernel, and these are a pod's unless it sets ip_local_port_range."""


def service(job: JobSeen) -> Manifest:
    """Gives every pod the name `role-index.job`, ready or not: learners must find each other to become ready."""
    ports = {
        "coordinator": contract.PORT_COORDINATOR,
        "agent": contract.PORT_AGENT,
        "reward": contract.PORT_REWARD,
        "learner": contract.PORT_LEARNER,
    }
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": child_metadata(job, job.name),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": selector_of(job),
            "ports": [{"name": name, "port": port, "protocol": "TCP"} for name, port in ports.items()],
        },
    }


def policies(job: JobSeen, kit: Kit) -> tuple[Manifest, ...]:
    """Two policies; one more for collectives of several learner pods, and one for broadcasts of weights."""
    ingress = {"podSelector": _selector(job), "policyTypes": ["Ingress"], "ingress": _ingress(job, kit)}
    egress: dict[str, Any] = {"podSelector": _selector(job, "reward"), "policyTypes": ["Egress"]}
    ways_out = _verifier_services(spec_of(job))
    if ways_out:
        # Never an empty list, which means the same: the API server drops it and takes every apply for a change.
        egress["egress"] = ways_out
    found = [_policy(job, job.name, ingress), _policy(job, f"{job.name}-reward", egress)]
    if spec_of(job).learner.nodes > 1:
        among = {
            "podSelector": _selector(job, "learner"),
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": _selector(job, "learner")}]}],
        }
        found.append(_policy(job, f"{job.name}-learner", among))
    if spec_of(job).rollout.weight_transfer == "nccl":
        found.append(_policy(job, f"{job.name}-weights", _broadcasts(job)))
    return tuple(found)


def _broadcasts(job: JobSeen) -> dict[str, Any]:
    """Ranks pass weights on to each other, so rollouts listen to rollouts too; the engine's port is none of these."""
    ours = {"key": contract.LABEL_ROLE, "operator": "In", "values": ["learner", "rollout"]}
    both = {"matchLabels": selector_of(job), "matchExpressions": [ours]}
    first, last = _EPHEMERAL
    ports = [{"port": first, "endPort": last, "protocol": "TCP"}]
    return {
        "podSelector": both,
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": both}], "ports": ports}],
    }


def _ingress(job: JobSeen, kit: Kit) -> list[dict[str, Any]]:
    """Each port is open in pods of one role only, so naming ports is naming roles."""
    learner, rollout = {"podSelector": _selector(job, "learner")}, {"podSelector": _selector(job, "rollout")}
    rules = [
        _rule(learner, contract.PORT_AGENT, contract.PORT_REWARD),
        _rule(rollout, contract.PORT_COORDINATOR),
        _rule(_namespace(kit.operator_namespace), contract.PORT_COORDINATOR),
    ]
    if kit.monitoring_namespace:
        rules.append(_rule(_namespace(kit.monitoring_namespace), *_METRICS))
    return rules


def _verifier_services(spec: RLVRJobSpec) -> list[dict[str, Any]]:
    """The ports of `http` verifiers, which the user named, and DNS to find them; nothing for any other verifier."""
    urls = [urlsplit(verifier.http.url) for verifier in spec.reward.verifiers if verifier.http is not None]
    ports = sorted({url.port or (443 if url.scheme == "https" else 80) for url in urls})
    if not ports:
        return []
    dns = [{"port": _DNS, "protocol": protocol} for protocol in ("UDP", "TCP")]
    return [{"ports": dns + [{"port": port, "protocol": "TCP"} for port in ports]}]


def _rule(peer: dict[str, Any], *ports: int) -> dict[str, Any]:
    return {"from": [peer], "ports": [{"port": port, "protocol": "TCP"} for port in ports]}


def _namespace(name: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {_NAMESPACE_NAME: name}}}


def _selector(job: JobSeen, role: Any = None) -> dict[str, Any]:
    return {"matchLabels": selector_of(job, role)}


def _policy(job: JobSeen, name: str, spec: dict[str, Any]) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": child_metadata(job, name),
        "spec": spec,
    }

"""What builders are given beside the job: the installation's own facts, and which pod is meant."""

from __future__ import annotations

from dataclasses import dataclass

from rlvr_operator.observed import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """The installation: images, addresses, and what the cluster offers."""

    trainer_image: str
    """Coordinator, learner, rollout agent and local engine."""
    engine_image: str
    """vLLM."""
    reward_image: str
    operator_namespace: str
    operator_service_account: str
    issuer: str = ""
    """Who signs the cluster's ServiceAccount tokens."""
    jwks: str = ""
    """The issuer's public keys, as the JSON text that the API server serves."""
    gang_apis: frozenset[str] = frozenset()
    """Discovered group/versions that gangs could use, such as `scheduling.k8s.io/v1alpha2`."""
    cluster_domain: str = "cluster.local"
    monitoring_namespace: str = ""
    """Namespace of Prometheus, which may reach the metrics ports; empty: nobody outside the job may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One pod of a job."""

    role: Role
    index: int
    attempt: int = 0
    """Learner: attempt of the job.  Others: incarnation of this index."""
    failures: int = 0
    """Others than learners: failures in a row before this incarnation."""

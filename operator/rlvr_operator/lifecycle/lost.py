"""Pods whose node is gone or silent, and pods that will not go.  Pure."""

from __future__ import annotations

from typing import Final

from rlvr_api.contract import ANNOTATION_NEVER_FORCE
from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.observed import PodSeen
from rlvr_operator.plan import PodDeletion

LOST_SECONDS: Final = 60.0
"""A pod unready for so long on a lost node is given up.  A kubelet that restarts is back in a few seconds; Kubernetes
itself waits 300."""
STUCK_SECONDS: Final = 60.0
"""Beyond the grace that a pod on a lost node was given."""


def is_lost(facts: Facts, pod: PodSeen) -> bool:
    """Its node has been away for a while."""
    until = lost_at(facts, pod)
    return until is not None and facts.now >= until


def lost_at(facts: Facts, pod: PodSeen) -> float | None:
    """When the pod is given up, if its node stays away."""
    if pod.node not in facts.seen.lost_nodes or pod.is_ready or pod.has_ended or pod.unready_since is None:
        return None
    return pod.unready_since + LOST_SECONDS


def is_disrupted(facts: Facts, pod: PodSeen) -> bool:
    """It ends for reasons outside itself: drained, preempted, evicted, or its node is lost."""
    return (pod.is_disrupted and pod.phase != "Succeeded") or is_lost(facts, pod)


def stuck_at(facts: Facts, pod: PodSeen) -> float | None:
    """When a pod that nobody is left to stop is removed by force."""
    if pod.deleted_at is None or pod.node not in facts.seen.lost_nodes:
        return None
    return None if ANNOTATION_NEVER_FORCE in facts.job.annotations else pod.deleted_at + STUCK_SECONDS


def forced(facts: Facts) -> tuple[PodDeletion, ...]:
    """Deletions by force.  The API server forgets the pod; a node that comes back stops it."""
    due = ((pod, stuck_at(facts, pod)) for pod in facts.seen.pods)
    return tuple(
        PodDeletion(name=pod.name, uid=pod.uid, grace_seconds=0, reason=f"stuck on lost node {pod.node}")
        for pod, at in due
        if at is not None and facts.now >= at
    )

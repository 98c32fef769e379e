"""A job that is being deleted: the learner saves first.

Services and ConfigMap stay until no learner pod can be saving any more; the garbage collector takes the rest.
"""

from __future__ import annotations

from typing import Final

from rlvr_api.contract import ANNOTATION_SKIP_LAST_CHECKPOINT, FINALIZER
from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.lifecycle.intent import Intent, deletions
from rlvr_operator.observed import PodSeen

PATIENCE_SECONDS: Final = 60.0
"""Beyond the pods' own grace."""


def deleted(facts: Facts) -> Intent | None:
    """Delete the learner pods with their full grace, wait until they are gone, then let go of the job."""
    if facts.job.deleted_at is None:
        return None
    if FINALIZER not in facts.job.finalizers:
        return Intent(is_hands_off=True)
    saving = saving_pods(facts)
    is_over = not saving or ANNOTATION_SKIP_LAST_CHECKPOINT in facts.job.annotations or facts.now >= release_at(facts)
    if is_over:
        return Intent(finalizer="remove", lets_gang_go=True)
    return Intent(delete=deletions(saving, reason="the job is deleted"))


def saving_pods(facts: Facts) -> tuple[PodSeen, ...]:
    """Learner pods that run, and so may have something to save."""
    return tuple(pod for pod in facts.pods_of("learner") if pod.is_placed and not pod.has_ended)


def release_at(facts: Facts) -> float:
    """When the job goes whether or not its learner pods are gone."""
    asked = facts.job.deleted_at or 0.0
    return asked + max((pod.grace_seconds for pod in saving_pods(facts)), default=0) + PATIENCE_SECONDS

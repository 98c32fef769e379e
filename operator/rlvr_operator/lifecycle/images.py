"""Images that cannot be had.  One that has no valid name never will be; others get the start-up deadline."""

from __future__ import annotations

from collections.abc import Iterator

from rlvr_operator.lifecycle.explain import is_image_trouble, trouble
from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.lifecycle.intent import Ending, Intent
from rlvr_operator.observed import PodSeen


def image_is_missing(facts: Facts) -> Intent | None:
    """Fail, naming pod and image; a role that does without the pod goes on."""
    for pod in facts.seen.pods:
        is_invalid = any(waiting.reason == "InvalidImageName" for waiting in pod.waiting)
        if is_invalid or (is_image_trouble(pod) and _is_needed(facts, pod) and facts.now >= image_until(facts, pod)):
            return Intent(ending=Ending(kind="Failed", reason="ImagePull", message=trouble(pod)))
    return None


def image_until(facts: Facts, pod: PodSeen) -> float:
    """When patience with the pod's image ends."""
    return (pod.placed_at or pod.created_at) + facts.spec.limits.startup_deadline_seconds


def image_times(facts: Facts) -> Iterator[float]:
    return (image_until(facts, pod) for pod in facts.seen.pods if is_image_trouble(pod))


def _is_needed(facts: Facts, pod: PodSeen) -> bool:
    return facts.ready(pod.role) < facts.needed(pod.role)

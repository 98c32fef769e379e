"""A finished job is finished: nothing is made for it again, whatever is deleted or edited."""

from __future__ import annotations

from rlvr_api.contract import FINALIZER
from rlvr_operator.lifecycle.deletion import saving_pods
from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.lifecycle.intent import Ending, Intent, deletions
from rlvr_operator.observed import PodSeen
from rlvr_operator.timestamps import unix_or_none


def finished(facts: Facts) -> Intent | None:
    """Stop what still runs, keep ended learner pods for their logs, delete the job when its time has come."""
    if not facts.has_finished:
        return None
    if facts.now >= (expires_at(facts) or float("inf")):
        return Intent(delete_job=True)
    rest = tuple(pod for pod in facts.seen.pods if not _is_kept(pod))
    is_released = FINALIZER in facts.job.finalizers and not saving_pods(facts)
    return Intent(
        finalizer="remove" if is_released else None,
        delete=deletions(rest, reason="the job has finished"),
        lets_gang_go=has_only_remnants(facts),
    )


def completed(facts: Facts) -> Intent | None:
    """All learner pods ended with code 0."""
    learners = facts.learners
    if len(learners) < facts.wanted("learner") or any(pod.phase != "Succeeded" for pod in learners):
        return None
    return Intent(ending=Ending(kind="Complete", reason="TrainingComplete", message="all steps are trained"))


def expires_at(facts: Facts) -> float | None:
    """When limits.ttlSecondsAfterFinished has passed."""
    spec, end = facts.job.spec, unix_or_none(facts.status.completion_time)
    ttl = spec.limits.ttl_seconds_after_finished if spec else None
    return None if ttl is None or end is None else end + ttl


def has_only_remnants(facts: Facts) -> bool:
    """Nothing runs, and some pods could go but for a gang scheduler that waits for their replacements."""
    pods = facts.seen.pods
    return any(pod.is_remnant for pod in pods) and all(pod.has_ended or pod.is_remnant for pod in pods)


def _is_kept(pod: PodSeen) -> bool:
    return pod.role == "learner" and pod.has_ended

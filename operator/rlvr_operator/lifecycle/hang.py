"""When a learner that runs is taken for hung.

Silence says nothing unless this process has been listening, and a job that lacks rollouts, rewards or its checkpoint
store does not hang: it waits.  So the clock starts when everything was last there.
"""

from __future__ import annotations

from typing import Final

from rlvr_api.status import ConditionType
from rlvr_operator.lifecycle.explain import present_exits
from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.observed import PodSeen
from rlvr_operator.timestamps import unix, unix_or_none

STRAGGLER_SECONDS: Final = 300.0
"""Ranks end together; saving the last checkpoint is over when the first one ends."""
FRESH_SECONDS: Final = 120.0
"""Progress heard so long ago is still news: it is asked for every 15 to 30 seconds."""
STORE_FAILS: Final = "StoreFails"
"""Reason of CheckpointHealthy=False while training goes on all the same."""
COORDINATOR: Final = "coordinator"
"""Container beside learner 0 that may go on after the ranks have ended, to evaluate."""


def hung_at(facts: Facts) -> float | None:
    """When the present lack of progress becomes a hang; None while the job is not in a state to progress."""
    since = _waiting_since(facts)
    if since is None:
        return None
    quiet = _quiet_since(facts)
    return None if quiet is None else max(since, quiet) + facts.spec.limits.hang_timeout_seconds


def straggling_at(facts: Facts) -> float | None:
    """When ranks that run on after others ended well are taken for hung."""
    ends = [end for pod in facts.learners if (end := _ended_well_at(pod)) is not None]
    if not ends or len(ends) == facts.wanted("learner"):
        return None
    return min(ends) + STRAGGLER_SECONDS


def _waiting_since(facts: Facts) -> float | None:
    """Since when nothing but the learner itself holds up a step."""
    began = unix_or_none(facts.attempt.running_at)
    is_held_up = facts.ready("rollout") < facts.needed("rollout") or facts.ready("reward") < facts.needed("reward")
    heard = facts.heard
    is_saving = heard is not None and heard.progress.checkpoint.is_waiting
    is_up = bool(facts.learners) and all(pod.phase == "Running" for pod in facts.learners)
    if began is None or is_held_up or is_saving or not is_up:
        return None
    return max(began, *(_whole_since(facts, kind) for kind in ("RolloutsReady", "RewardReady", "CheckpointHealthy")))


def _whole_since(facts: Facts, kind: ConditionType) -> float:
    """When what the condition is about was there again; a recorded wait that has just ended ends now."""
    condition = facts.condition(kind)
    is_news = condition is not None and condition.status == "False" and condition.reason != STORE_FAILS
    return facts.now if is_news else facts.since(kind)


def _quiet_since(facts: Facts) -> float | None:
    """Since when the coordinator has had no news of a step."""
    heard, written = facts.heard, facts.status.progress
    if heard is not None and facts.now - heard.heard_at <= FRESH_SECONDS:
        is_same = written is not None and written.step == heard.progress.step and written.step_since is not None
        return unix(written.step_since) if is_same and written and written.step_since else facts.now
    if not _was_heard(facts) or facts.seen.listening_since is None:
        return None
    return max(facts.seen.listening_since, heard.heard_at if heard else 0.0)


def _was_heard(facts: Facts) -> bool:
    """The coordinator of this attempt has been heard, so that silence is not for want of a way to it."""
    written, started = facts.status.progress, facts.attempt.started_at
    if facts.heard is not None:
        return True
    if written is None or written.updated_at is None or started is None:
        return False
    return unix(written.updated_at) >= unix(started)


def _ended_well_at(pod: PodSeen) -> float | None:
    """When the pod's rank ended with code 0."""
    for end in present_exits(pod):
        if end.container != COORDINATOR and end.code == 0:
            return end.finished_at
    return None

"""What is written about a job.  Pure: the same facts give the same status, so that nothing is written twice."""

from __future__ import annotations

from typing import Any, Final

from rlvr_api import Progress, RLVRJobStatus, contract
from rlvr_api.status import AttemptStatus, CheckpointStatus, ProgressStatus, RolesStatus, RoleStatus
from rlvr_operator.conditions import conditions, message_of, phase_of
from rlvr_operator.lifecycle.admission import is_queued
from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.lifecycle.intent import Ending, Intent
from rlvr_operator.lifecycle.replacement import has_failed
from rlvr_operator.observed import ROLES, ProgressSeen, Role
from rlvr_operator.timestamps import rfc3339, rfc3339_or_none, unix

PROGRESS_SECONDS: Final = 20.0
"""Between writes of news that are only progress."""
FIRST_WORD_SECONDS: Final = 3.0
"""So fast a start is told once, when it is over; writing a job costs the API server as much as creating four pods."""
_LONGEST: Final = 8192


def next_status(facts: Facts, intent: Intent) -> RLVRJobStatus:
    """The status after this pass."""
    facts = facts.with_status(intent.memory or facts.status)
    facts = facts.with_status(facts.status.model_copy(update=_counted(facts, intent)))
    answers = conditions(facts, intent.ending)
    said = {"conditions": answers, "phase": phase_of(answers), "message": message_of(facts, answers)}
    return facts.status.model_copy(update={**said, "observed_generation": facts.job.generation})


def is_worth_writing(facts: Facts, new: RLVRJobStatus) -> bool:
    """Whether `new` says more than what is written; mere progress, and that pods are on their way, can wait a while."""
    old = facts.status
    if old == new:
        return False
    until = first_word_at(facts)
    if until is not None and facts.now < until and _is_on_its_way(new):
        return False
    written = old.progress.updated_at if old.progress else None
    is_mere_progress = old.progress is not None and old == new.model_copy(update={"progress": old.progress})
    return not (is_mere_progress and written is not None and facts.now - unix(written) < PROGRESS_SECONDS)


def first_word_at(facts: Facts) -> float | None:
    """When a job whose pods are new and on their way is told so at the latest; None once anything has been told."""
    if facts.status.observed_generation is not None:
        return None
    return _made_at(facts) + FIRST_WORD_SECONDS


def _made_at(facts: Facts) -> float:
    """When the first of the present pods was made."""
    return min((pod.created_at for pod in facts.seen.pods), default=facts.now)


def _is_on_its_way(new: RLVRJobStatus) -> bool:
    """Everything is as it should be a moment after the pods were made."""
    answers = {condition.type: condition for condition in new.conditions}
    expected = {("Validated", "Valid"), ("Scheduled", "Placing"), ("Scheduled", "Placed")}
    is_expected = {(kind, answers[kind].reason) for kind in ("Validated", "Scheduled") if kind in answers} <= expected
    return is_expected and new.attempt == 0 and new.phase in {"Pending", "Starting"}


def _counted(facts: Facts, intent: Intent) -> dict[str, Any]:
    """Times, pods and progress."""
    if facts.has_finished:
        return _present(facts)
    known = _heard(facts)
    if facts.job.spec is None:
        return known
    changes = {**known, **_present(facts), **_clock(facts), "current_attempt": _attempt(facts)}
    if (intent.create or facts.seen.pods) and facts.status.start_time is None:
        changes["start_time"] = rfc3339(_made_at(facts))
    if intent.ending is not None:
        changes |= _ended(known.get("progress", facts.status.progress), intent.ending, now=facts.now)
    return changes


def _heard(facts: Facts) -> dict[str, Any]:
    heard = facts.seen.progress
    if heard is None:
        return {}
    return {"progress": _progress(facts, heard), "checkpoint": _checkpoint(facts, heard.progress)}


def _ended(progress: ProgressStatus | None, ending: Ending, *, now: float) -> dict[str, Any]:
    """The end; a job that is complete has done all its steps, whether or not anybody heard of the last ones."""
    if progress is not None and ending.kind == "Complete":
        progress = progress.model_copy(update={"step": progress.total_steps})
    return {"completion_time": rfc3339(now), "progress": progress}


def _present(facts: Facts) -> dict[str, RolesStatus]:
    if facts.job.spec is None:
        return {}
    roles = RolesStatus(learner=_role(facts, "learner"), rollout=_role(facts, "rollout"), reward=_role(facts, "reward"))
    return {"roles": roles}


def _role(facts: Facts, role: Role) -> RoleStatus:
    pods = facts.present(role)
    wanted, ready = facts.wanted(role), facts.ready(role)
    failed = [pod for pod in pods if (pod.phase == "Failed" if role == "learner" else has_failed(pod))]
    return RoleStatus(
        desired=wanted,
        ready=ready,
        failed=len(failed),
        replaced=0 if role == "learner" else sum(pod.attempt for pod in pods if not pod.is_terminating),
        summary=f"{ready}/{wanted}",
        selector=f"{contract.LABEL_JOB}={facts.job.name},{contract.LABEL_ROLE}={role}",
    )


def _attempt(facts: Facts) -> AttemptStatus:
    """The present attempt, with the moments that it has reached."""
    attempt, learners = facts.attempt, facts.learners
    has_started = len(learners) >= facts.wanted("learner") and all(pod.is_placed for pod in learners)
    is_running = all(facts.ready(role) >= facts.needed(role) for role in ROLES)
    started = rfc3339(facts.now) if has_started else None
    running = rfc3339(facts.now) if is_running else None
    return attempt.model_copy(
        update={"started_at": attempt.started_at or started, "running_at": attempt.running_at or running}
    )


def _clock(facts: Facts) -> dict[str, Any]:
    """The active deadline's clock: it runs from the first placed attempt, and stands while suspended or queued."""
    status = facts.status
    if facts.spec.suspend or is_queued(facts):
        ran = facts.now - unix(status.active_since) if status.active_since else 0.0
        return {"active_since": None, "active_seconds": status.active_seconds + int(max(ran, 0.0))}
    return {"active_since": status.active_since or _attempt(facts).started_at}


def _progress(facts: Facts, heard: ProgressSeen) -> ProgressStatus:
    """The coordinator's numbers; the same object as before when it says nothing new."""
    old, new = facts.status.progress, heard.progress
    is_same_step = old is not None and old.step == new.step and old.step_since is not None
    told = ProgressStatus(
        step=new.step,
        total_steps=new.total_steps,
        reward=_rounded(new.reward),
        accuracy=_rounded(new.accuracy),
        eval_accuracy=_rounded(new.eval_accuracy),
        policy=new.policy[:253] if new.policy else None,
        step_since=old.step_since if is_same_step and old else rfc3339(heard.heard_at),
        updated_at=old.updated_at if old else None,
    )
    return told if told == old else told.model_copy(update={"updated_at": rfc3339(heard.heard_at)})


def _checkpoint(facts: Facts, progress: Progress) -> CheckpointStatus | None:
    """The newest checkpoint that was ever told of: a new attempt that is still reading knows of none."""
    old, new = facts.status.checkpoint, progress.checkpoint
    error = new.last_error[:_LONGEST] if new.last_error else None
    if new.step is None:
        if old is not None:
            return old.model_copy(update={"last_error": error})
        return CheckpointStatus(last_error=error) if error else None
    return CheckpointStatus(
        step=new.step,
        uri=new.uri[:1100] if new.uri else None,
        time=rfc3339_or_none(new.saved_at),
        last_error=error,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)

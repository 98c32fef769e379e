"""What is asked about a job, condition by condition; the first question with an answer decides.  Pure.

Messages carry no age or countdown: they would change, and be written, with every look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from rlvr_api.status import ConditionType
from rlvr_operator.lifecycle.admission import is_queued
from rlvr_operator.lifecycle.deadlines import base_placed_at
from rlvr_operator.lifecycle.explain import NAME_TAKEN, present_exits, refused, trouble_of
from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.lifecycle.hang import STORE_FAILS
from rlvr_operator.lifecycle.instability import is_unstable, num_failures
from rlvr_operator.lifecycle.suspension import has_to_end
from rlvr_operator.observed import Refusal, Role

_BASE: Final[tuple[Role, ...]] = ("learner", "reward", "rollout")
_ROLE_REASONS: Final[Mapping[Role, str]] = {
    "learner": "LearnerNotReady",
    "rollout": "RolloutsNotReady",
    "reward": "RewardNotReady",
}
_MALFORMED: Final = frozenset({400, 422})
"""HTTP codes of a manifest that the API server will never take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a condition says now."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""


Question = Callable[[Facts], Answer | None]


def breaks_rules(facts: Facts) -> Answer | None:
    return Answer(status="False", reason="InvalidSpec", message="\n".join(facts.problems)) if facts.problems else None


def _is_malformed(facts: Facts) -> Answer | None:
    refusal = _refusal(facts, is_malformed=True)
    return Answer(status="False", reason="Refused", message=refused(refusal)) if refusal else None


def _is_valid(_facts: Facts) -> Answer:
    return Answer(status="True", reason="Valid")


def _waits_in_queue(facts: Facts) -> Answer | None:
    queue = facts.spec.scheduling.queue_name
    where = f"queue {queue}" if queue else "a scheduling gate"
    message = f"waits for {where} to admit its pods"
    return Answer(status="True", reason="WaitingForAdmission", message=message) if is_queued(facts) else None


def _was_admitted(facts: Facts) -> Answer | None:
    return Answer(status="False", reason="Admitted") if facts.condition("Queued") else None


def _is_suspended(facts: Facts) -> Answer | None:
    if has_to_end(facts):
        message = f"{len(facts.seen.pods)} pods of the former gang have to go before the next is made"
        return Answer(status="True", reason="Resuming", message=message)
    if not facts.spec.suspend:
        return Answer(status="False", reason="Resumed") if facts.condition("Suspended") else None
    if facts.seen.pods:
        message = f"suspending: {len(facts.seen.pods)} pods have to go, the learner's after a checkpoint"
        return Answer(status="True", reason="Suspending", message=message)
    return Answer(status="True", reason="Suspended", message="spec.suspend is true; set it to false to go on")


def _rests(facts: Facts) -> Answer | None:
    return Answer(status="False", reason="Suspended", message="the job is suspended") if facts.spec.suspend else None


def _is_refused(facts: Facts) -> Answer | None:
    refusal = _refusal(facts, is_malformed=False)
    if refusal is None:
        return None
    return Answer(status="False", reason=_kind_of(refusal), message=refused(refusal))


def _is_not_made(facts: Facts) -> Answer | None:
    message = "no pod is made before what Validated says is put right"
    has_pods = any(facts.present(role) for role in _BASE)
    return Answer(status="False", reason="NotMade", message=message) if facts.problems and not has_pods else None


def _is_gated(facts: Facts) -> Answer | None:
    return Answer(status="False", reason="Gated", message=trouble_of(facts, "learner")) if is_queued(facts) else None


def _is_unplaced(facts: Facts) -> Answer | None:
    for role in _BASE:
        if base_placed_at(facts, role) is None:
            is_unschedulable = any(pod.unschedulable for pod in facts.present(role))
            reason = "Unschedulable" if is_unschedulable else "Placing"
            return Answer(status="False", reason=reason, message=trouble_of(facts, role))
    return None


def _is_placed(_facts: Facts) -> Answer:
    return Answer(status="True", reason="Placed", message="learner, minimum of rollouts and a reward pod have nodes")


def _strength(role: Role) -> Question:
    def question(facts: Facts) -> Answer:
        ready, wanted = facts.ready(role), facts.wanted(role)
        enough = ready >= facts.needed(role)
        message = f"{ready} of {wanted} {role} pods are ready"
        if ready < wanted:
            message = f"{message}; {trouble_of(facts, role)}"
        return Answer(status="True" if enough else "False", reason="Ready" if enough else "NotReady", message=message)

    return question


def _are_unstable(facts: Facts) -> Answer | None:
    if not is_unstable(facts) or facts.ready("rollout") >= facts.needed("rollout"):
        return None
    message = f"{num_failures(facts)} recent failures; {trouble_of(facts, 'rollout')}"
    return Answer(status="False", reason="RolloutUnstable", message=message)


def _lacks_pods(facts: Facts) -> Answer | None:
    for role in _BASE:
        if facts.ready(role) < facts.needed(role):
            return Answer(status="False", reason=_ROLE_REASONS[role], message=trouble_of(facts, role))
    return None


def _winds_up(status: Literal["True", "False"]) -> Question:
    """Of learner and coordinator one has ended well, so their pod is not ready; the other still saves or evaluates."""

    def question(facts: Facts) -> Answer | None:
        learners = facts.learners
        is_whole = len(learners) == facts.needed("learner") and not any(pod.phase == "Failed" for pod in learners)
        if not is_whole or not any(end.code == 0 for pod in learners for end in present_exits(pod)):
            return None
        return Answer(
            status=status, reason="WindingUp", message="all steps are trained; what was learnt is saved and examined"
        )

    return question


def _runs(_facts: Facts) -> Answer:
    return Answer(status="True", reason="Running", message="all roles are ready")


def _restarts(facts: Facts) -> Answer | None:
    attempt = facts.attempt
    if attempt.cause is not None and attempt.running_at is None and not facts.spec.suspend:
        reason = attempt.cause.partition(":")[0]
        message = f"attempt {facts.status.attempt} begins after {attempt.cause}"
        return Answer(status="True", reason=reason, message=message)
    return Answer(status="False", reason="Restarted") if facts.condition("Restarting") else None


def _store_fails(facts: Facts) -> Answer | None:
    checkpoint = facts.heard.progress.checkpoint if facts.heard else None
    if checkpoint is None or not (checkpoint.is_waiting or checkpoint.last_error):
        return None
    said = checkpoint.last_error or "the store does not take the checkpoint"
    if checkpoint.is_waiting:
        return Answer(status="False", reason="TrainingWaits", message=f"training waits for the store: {said}")
    return Answer(status="False", reason=STORE_FAILS, message=f"the last checkpoint could not be saved: {said}")


def _store_works(facts: Facts) -> Answer | None:
    return Answer(status="True", reason="Saved") if facts.heard and facts.heard.progress.checkpoint.step else None


def _stays(kind: ConditionType) -> Question:
    """Nothing new is known."""

    def question(facts: Facts) -> Answer | None:
        old = facts.condition(kind)
        return Answer(status=old.status, reason=old.reason, message=old.message) if old else None

    return question


CONDITIONS: Final[Mapping[ConditionType, tuple[Question, ...]]] = {
    "Validated": (breaks_rules, _is_malformed, _is_valid),
    "Queued": (_waits_in_queue, _was_admitted),
    "Scheduled": (_rests, _is_not_made, _is_refused, _is_gated, _is_unplaced, _is_placed),
    "RolloutsReady": (_rests, _are_unstable, _strength("rollout")),
    "RewardReady": (_rests, _strength("reward")),
    "LearnerReady": (_rests, _winds_up("False"), _strength("learner")),
    "Running": (_rests, _winds_up("True"), _lacks_pods, _runs),
    "Restarting": (_restarts,),
    "CheckpointHealthy": (_store_fails, _store_works, _stays("CheckpointHealthy")),
    "Suspended": (_is_suspended,),
}


def _refusal(facts: Facts, *, is_malformed: bool) -> Refusal | None:
    """What the API server said no to."""
    return next((no for no in facts.refusals if _is_of_manifest(no) == is_malformed), None)


def _is_of_manifest(refusal: Refusal) -> bool:
    """No server takes such a manifest; an admission policy refuses with the same code, but says that it forbids."""
    return refusal.code in _MALFORMED and "is forbidden: " not in refusal.message


def _kind_of(refusal: Refusal) -> str:
    if refusal.code == NAME_TAKEN:
        return "NameTaken"
    return "QuotaExceeded" if "exceeded quota" in refusal.message else "Refused"

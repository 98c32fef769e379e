"""Why the present attempt of the learner is lost: questions in order, the first answer tells.

Whoever failed first is to blame: other ranks follow because they wait for it.  Exit codes that nobody reserved are
worth another attempt: most failures, time-outs included, end a Python process with code 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from rlvr_api.contract import EXIT_CORRUPT_CHECKPOINT, EXIT_INTERRUPTED, EXIT_INVALID
from rlvr_operator.lifecycle.deadlines import has_begun, startup_until
from rlvr_operator.lifecycle.explain import ended, first_failures, present_exits, trouble
from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.lifecycle.hang import hung_at, straggling_at
from rlvr_operator.lifecycle.lost import is_disrupted
from rlvr_operator.observed import Exit, PodSeen

Price = Literal["free", "counted", "final"]
_PRICES: Final[dict[str, Price]] = {"restart": "counted", "restartFree": "free", "fail": "final"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """An attempt is lost."""

    reason: str
    message: str
    price: Price = "counted"


Question = Callable[[Facts], Loss | None]


def loss_of(facts: Facts) -> Loss | None:
    """Why the attempt is lost; None while it is not."""
    return next((loss for question in QUESTIONS if (loss := question(facts))), None)


def _disrupted(facts: Facts) -> Loss | None:
    for pod in facts.learners:
        if is_disrupted(facts, pod):
            why = pod.disruption or f"its node {pod.node} is lost"
            return Loss(reason="Disrupted", message=f"pod {pod.name} was disrupted ({why})", price="free")
    return None


def _by_rule(facts: Facts) -> Loss | None:
    """The user's own rules, about the first failure only: the others follow from it."""
    for pod, end in first_failures(facts.learners)[:1]:
        for rule in facts.spec.learner.restart.rules:
            if end.code in rule.exit_codes:
                says = f"learner.restart.rules: {rule.action}"
                price = _PRICES[rule.action]
                reason = "NonRetryableExit" if price == "final" else "LearnerFailed"
                return Loss(reason=reason, message=f"{_who(pod, end)} ({says})", price=price)
    return None


def _invalid(facts: Facts) -> Loss | None:
    return _by_code(facts, EXIT_INVALID, reason="NonRetryableExit", price="final", meaning="repeating would not help")


def _out_of_memory(facts: Facts) -> Loss | None:
    for pod, end in first_failures(facts.learners):
        if end.reason == "OOMKilled":
            return Loss(reason="OutOfMemory", message=_who(pod, end))
    return None


def _corrupt(facts: Facts) -> Loss | None:
    meaning = "the next attempt falls back to an older checkpoint"
    return _by_code(facts, EXIT_CORRUPT_CHECKPOINT, reason="CorruptCheckpoint", price="counted", meaning=meaning)


def _failed(facts: Facts) -> Loss | None:
    """Any other code; but one that saved on request first."""
    failures = first_failures(facts.learners)
    for pod, end in failures:
        if end.code != EXIT_INTERRUPTED:
            return Loss(reason="LearnerFailed", message=_who(pod, end))
    for pod, end in failures:
        return Loss(reason="Interrupted", message=f"{_who(pod, end)} after a checkpoint", price="free")
    return None


def _evicted(facts: Facts) -> Loss | None:
    """A pod that the kubelet ended without a word about its containers."""
    for pod in facts.learners:
        if pod.phase == "Failed" and not present_exits(pod):
            return Loss(reason="LearnerFailed", message=trouble(pod))
    return None


def _vanished(facts: Facts) -> Loss | None:
    """A pod that had a node and is no longer there.  If training was done, the next attempt finds that and ends."""
    there = {pod.index for pod in facts.learners}
    missing = [index for index in range(facts.wanted("learner")) if index not in there]
    if facts.attempt.started_at is None or not missing:
        return None
    return Loss(reason="PodVanished", message=f"the pod of learner {missing[0]} has vanished")


def _straggling(facts: Facts) -> Loss | None:
    at = straggling_at(facts)
    if at is None or facts.now < at:
        return None
    return Loss(reason="Hung", message="some ranks ended well, others run on without them")


def _hung(facts: Facts) -> Loss | None:
    at = hung_at(facts)
    if at is None or facts.now < at:
        return None
    seconds = facts.spec.limits.hang_timeout_seconds
    said = f"; last heard: {facts.heard.progress.activity}" if facts.heard and facts.heard.progress.activity else ""
    return Loss(reason="Hung", message=f"no step has finished for {seconds} s (limits.hangTimeoutSeconds){said}")


def _slow(facts: Facts) -> Loss | None:
    """A later attempt whose learner does not get ready; a job that never trained fails by the deadline instead."""
    until = startup_until(facts)
    if until is None or facts.now < until or not has_begun(facts):
        return None
    unready = [pod for pod in facts.learners if not pod.is_ready]
    seconds = facts.spec.limits.startup_deadline_seconds
    why = f"the learner was not ready {seconds} s after its pods were placed (limits.startupDeadlineSeconds)"
    return Loss(reason="SlowStart", message=f"{why}; {trouble(unready[0])}") if unready else None


QUESTIONS: Final[tuple[Question, ...]] = (
    _disrupted,
    _by_rule,
    _invalid,
    _out_of_memory,
    _corrupt,
    _failed,
    _evicted,
    _vanished,
    _straggling,
    _hung,
    _slow,
)


def _by_code(facts: Facts, code: int, *, reason: str, price: Price, meaning: str) -> Loss | None:
    for pod, end in first_failures(facts.learners):
        if end.code == code:
            return Loss(reason=reason, message=f"{_who(pod, end)}; {meaning}", price=price)
    return None


def _who(pod: PodSeen, end: Exit) -> str:
    return f"learner {pod.index} (pod {pod.name}): {ended(end)}"

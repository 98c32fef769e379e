"""A lost attempt: another one, or the end of the job.

The decision is written down before anything is deleted; then pods of an older attempt are rubbish by definition.  An
operator killed in between decides once.  Progress, not time, earns the budget back.
"""

from __future__ import annotations

from typing import Final

from rlvr_api.status import AttemptStatus
from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.lifecycle.intent import Ending, Intent
from rlvr_operator.lifecycle.loss import Loss, loss_of
from rlvr_operator.plan import Event
from rlvr_operator.timestamps import rfc3339, unix, unix_or_none

FREE_PER_HOUR: Final = 10
"""Restarts beyond that count, whatever their cause: something is wrong with the place."""
HOUR_SECONDS: Final = 3600.0


def learner_is_lost(facts: Facts) -> Intent | None:
    """Record the next attempt and why, or fail."""
    loss = loss_of(facts)
    if loss is None:
        return None
    if loss.price == "final":
        return _failed(loss.reason, loss.message)
    is_free = loss.price == "free" and len(_recent(facts)) < FREE_PER_HOUR
    return _free(facts, loss) if is_free else _counted(facts, loss)


def progressed(facts: Facts) -> bool:
    """The present attempt made a newer checkpoint."""
    newest = facts.checkpoint_step
    return newest is not None and newest > (facts.attempt.checkpoint_step or 0)


def _free(facts: Facts, loss: Loss) -> Intent:
    fruitless = 0 if progressed(facts) else facts.attempt.fruitless
    memory = (*_recent(facts), rfc3339(facts.now))
    attempt = _next(facts, loss).model_copy(update={"fruitless": fruitless, "free_restarts": memory})
    return _begun(facts, loss, attempt, restarts=facts.status.restarts)


def _counted(facts: Facts, loss: Loss) -> Intent:
    has_progressed = progressed(facts)
    is_forgiven = has_progressed and _is_stable(facts)
    restarts = (0 if is_forgiven else facts.status.restarts) + 1
    fruitless = 0 if has_progressed else facts.attempt.fruitless + 1
    kills = (0 if is_forgiven else facts.attempt.out_of_memory) + (loss.reason == "OutOfMemory")
    refusal = _refusal(facts, loss, restarts=restarts, fruitless=fruitless, kills=kills)
    if refusal is not None:
        return refusal
    attempt = _next(facts, loss).model_copy(update={"fruitless": fruitless, "out_of_memory": kills})
    return _begun(facts, loss, attempt, restarts=restarts)


def _refusal(facts: Facts, loss: Loss, *, restarts: int, fruitless: int, kills: int) -> Intent | None:
    """Why there is no further attempt; None when there is one."""
    rules = facts.spec.learner.restart
    if kills > 1:
        way_out = "raise the learner's memory limit or lower training.tokenBudget"
        return _failed("OutOfMemory", f"{loss.message}, again after a restart: {way_out}")
    if restarts > rules.max_restarts:
        reason = "Hung" if loss.reason == "Hung" else "RestartsExhausted"
        return _failed(
            reason, f"{loss.message}; all {rules.max_restarts} restarts (learner.restart.maxRestarts) are used"
        )
    if fruitless >= rules.no_progress_attempts:
        says = f"{fruitless} attempts in a row made no newer checkpoint (learner.restart.noProgressAttempts)"
        return _failed("NoProgress", f"{loss.message}; {says}")
    return None


def _next(facts: Facts, loss: Loss) -> AttemptStatus:
    """The attempt after this one, before it is counted."""
    return AttemptStatus(
        cause=f"{loss.reason}: {loss.message}",
        checkpoint_step=facts.checkpoint_step,
        out_of_memory=facts.attempt.out_of_memory,
        free_restarts=_recent(facts),
    )


def _begun(facts: Facts, loss: Loss, attempt: AttemptStatus, *, restarts: int) -> Intent:
    number = facts.status.attempt + 1
    changes = {"attempt": number, "restarts": restarts, "current_attempt": attempt}
    origin = "the beginning" if attempt.checkpoint_step is None else f"the checkpoint of step {attempt.checkpoint_step}"
    event = Event(type="Warning", reason=loss.reason, message=f"{loss.message}; attempt {number} starts from {origin}")
    return Intent(memory=facts.status.model_copy(update=changes), events=(event,))


def _recent(facts: Facts) -> tuple[str, ...]:
    """Free restarts within the last hour."""
    return tuple(at for at in facts.attempt.free_restarts if facts.now - unix(at) < HOUR_SECONDS)


def _is_stable(facts: Facts) -> bool:
    began = unix_or_none(facts.attempt.running_at)
    return began is not None and facts.now - began >= facts.spec.learner.restart.stable_seconds


def _failed(reason: str, message: str) -> Intent:
    return Intent(ending=Ending(kind="Failed", reason=reason, message=message))

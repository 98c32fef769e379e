"""Suspending and resuming.  Every resumption is an attempt of its own that counts against nothing."""

from __future__ import annotations

from rlvr_api.status import AttemptStatus
from rlvr_operator.lifecycle.deletion import saving_pods
from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.lifecycle.finished import has_only_remnants
from rlvr_operator.lifecycle.intent import Intent, deletions


def suspended(facts: Facts) -> Intent | None:
    """The learner is told to save and end; when it has, all other pods go."""
    if not facts.spec.suspend and not has_to_end(facts):
        return None
    return Intent(
        delete=deletions(saving_pods(facts) or facts.seen.pods, reason="the job is suspended"),
        lets_gang_go=has_only_remnants(facts),
    )


def has_to_end(facts: Facts) -> bool:
    """It is taken back while pods of the gang are there; what follows is another gang, maybe of another size."""
    is_over = facts.spec.suspend or not facts.is_true("Suspended")
    return not is_over and facts.spec.scheduling.gang != "none" and bool(facts.seen.pods)


def resumed(facts: Facts) -> Intent | None:
    """A job that has run before goes on with a new attempt; its pods follow in the next pass."""
    if not facts.is_true("Suspended"):
        return None
    if facts.status.start_time is None:
        return None
    past = facts.attempt
    attempt = AttemptStatus(
        checkpoint_step=facts.checkpoint_step,
        fruitless=past.fruitless,
        out_of_memory=past.out_of_memory,
        free_restarts=past.free_restarts,
    )
    return Intent(
        memory=facts.status.model_copy(update={"attempt": facts.status.attempt + 1, "current_attempt": attempt})
    )

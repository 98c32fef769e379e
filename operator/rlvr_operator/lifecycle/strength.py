"""The everyday step: every role has its pods.

A new attempt of the learner begins only when no pod of an older one is left.  Rollout and reward pods do not wait,
unless they are beside a gang: made sooner than it has its nodes, they would take them away from it.
"""

from __future__ import annotations

from typing import Final

from rlvr_api.contract import FINALIZER
from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.lifecycle.intent import Intent, deletions
from rlvr_operator.lifecycle.replacement import REPLACED_ROLES, Change, kept_at_strength
from rlvr_operator.observed import ROLES
from rlvr_operator.workloads import Member, is_in_gang

REFUSED_SECONDS: Final = 30.0
"""After a refusal nothing is made for so long."""


def running(facts: Facts) -> Intent:
    """Make what is missing, replace what failed, remove what is too much."""
    is_held = facts.now < retry_at(facts)
    changes = (_learner(facts), *(() if is_held else (kept_at_strength(facts, role) for role in REPLACED_ROLES)))
    wanted = () if is_held else tuple(member for change in changes for member in change.create)
    create = tuple(member for member in wanted if is_in_gang(facts.job, member) or gang_has_nodes(facts))
    return Intent(
        finalizer=None if FINALIZER in facts.job.finalizers else "add",
        keeps_children=not is_held,
        delete=tuple(deletion for change in changes for deletion in change.delete),
        create=create,
        events=tuple(event for change in changes for event in change.events),
    )


def retry_at(facts: Facts) -> float:
    """When a refused creation is tried again."""
    return max((refusal.at + REFUSED_SECONDS for refusal in facts.refusals), default=0.0)


def gang_has_nodes(facts: Facts) -> bool:
    """Every pod that has to start together has its node, or none has to."""
    if facts.spec.scheduling.gang == "none":
        return True
    placed = {(role, pod.index) for role in ROLES for pod in facts.present(role) if pod.is_placed}
    return all((role, index) in placed for role in ROLES for index in range(facts.needed(role)))


def _learner(facts: Facts) -> Change:
    former = facts.former_learners
    if former:
        return Change(delete=deletions(former, reason=f"attempt {facts.status.attempt} begins"))
    there = {pod.index for pod in facts.learners}
    missing = (index for index in range(facts.wanted("learner")) if index not in there)
    return Change(create=tuple(Member(role="learner", index=index, attempt=facts.status.attempt) for index in missing))

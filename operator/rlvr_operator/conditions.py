"""Questions about a job, and their answers.  Conditions are the truth; nothing but people reads the phase.

A condition without an answer is absent; what is asked stands in `questions.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rlvr_api import Condition
from rlvr_api.status import ConditionType, Phase
from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.lifecycle.intent import Ending
from rlvr_operator.questions import CONDITIONS, Answer, breaks_rules
from rlvr_operator.timestamps import rfc3339

_LONGEST: Final = 4096


def conditions(facts: Facts, ending: Ending | None) -> tuple[Condition, ...]:
    """All answers; the time of one changes only with its status."""
    if ending is not None:
        return tuple(_at_the_end(facts, ending))
    if facts.has_finished:
        return facts.status.conditions
    if facts.job.spec is None:
        return tuple(_unreadable(facts))
    return tuple(_each(facts))


def phase_of(answers: tuple[Condition, ...]) -> Phase:
    """One word for people."""
    true = {condition.type for condition in answers if condition.status == "True"}
    return next((phase for kind, phase in _PHASES if kind in true), "Pending")


def message_of(facts: Facts, answers: tuple[Condition, ...]) -> str | None:
    """Why the job does not progress, in one sentence; None when it does."""
    if facts.job.deleted_at is not None:
        return "the job is being deleted; its learner saves a checkpoint first"
    by_type = {condition.type: condition for condition in answers}
    speaking = (by_type[kind] for kind, status in _SPEAKERS if kind in by_type and by_type[kind].status == status)
    said = [condition.message for condition in speaking if condition.message]
    has_more = said[:1] and by_type.get("Restarting") and said[0] == by_type["Restarting"].message
    return "; ".join(said[: 2 if has_more else 1])[:_LONGEST] or None


_PHASES: Final[tuple[tuple[ConditionType, Phase], ...]] = (
    ("Failed", "Failed"),
    ("Complete", "Succeeded"),
    ("Suspended", "Suspended"),
    ("Queued", "Queued"),
    ("Restarting", "Restarting"),
    ("Running", "Running"),
    ("Scheduled", "Starting"),
)
_SPEAKERS: Final[tuple[tuple[ConditionType, str], ...]] = (
    ("Failed", "True"),
    ("Complete", "True"),
    ("Validated", "False"),
    ("Suspended", "True"),
    ("Queued", "True"),
    ("Restarting", "True"),
    ("Scheduled", "False"),
    ("LearnerReady", "False"),
    ("RewardReady", "False"),
    ("RolloutsReady", "False"),
    ("CheckpointHealthy", "False"),
)
"""Whose message is the job's, the most telling first; why it restarts does not say what it waits for now."""


def _each(facts: Facts) -> Iterator[Condition]:
    for kind, questions in CONDITIONS.items():
        answer = next((answer for question in questions if (answer := question(facts))), None)
        if answer is not None:
            yield _recorded(facts, kind, answer)


def _unreadable(facts: Facts) -> Iterator[Condition]:
    """Only validity can be judged; the rest stays as it was."""
    answer = breaks_rules(facts)
    if answer is not None:
        yield _recorded(facts, "Validated", answer)
    yield from (condition for condition in facts.status.conditions if condition.type != "Validated")


def _at_the_end(facts: Facts, ending: Ending) -> Iterator[Condition]:
    over = Answer(status="False", reason="Finished", message="the job has finished")
    for condition in facts.status.conditions:
        yield _recorded(facts, condition.type, over) if condition.type in _ALIVE else condition
    yield _recorded(facts, ending.kind, Answer(status="True", reason=ending.reason, message=ending.message))


_ALIVE: Final = frozenset({"Running", "Restarting", "RolloutsReady", "RewardReady", "LearnerReady", "Queued"})


def _recorded(facts: Facts, kind: ConditionType, answer: Answer) -> Condition:
    old = facts.condition(kind)
    is_same = old is not None and old.status == answer.status
    return Condition(
        type=kind,
        status=answer.status,
        reason=answer.reason,
        message=answer.message[:_LONGEST],
        last_transition_time=old.last_transition_time if is_same and old else rfc3339(facts.now),
        observed_generation=facts.job.generation,
    )

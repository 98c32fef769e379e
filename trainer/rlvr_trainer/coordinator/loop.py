"""The two stories of an attempt, told side by side from the resumed step to the last.

    hand_over_batches   gather a step's groups -> write them down -> the learner trains
    follow_policies     the learner has a new policy -> rollouts move to it -> it is examined -> more prompts

They meet in admission: no prompt is asked for before the policy it depends on, so with staleness 0 they take turns.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rlvr_trainer.coordinator.admission import Limits
from rlvr_trainer.coordinator.batches import hand_over
from rlvr_trainer.coordinator.chronicle import Chronicle
from rlvr_trainer.coordinator.evaluation import Exam, evaluate, is_due
from rlvr_trainer.coordinator.exchange import LearnerFolder, Policy
from rlvr_trainer.coordinator.intake import Intake
from rlvr_trainer.coordinator.judge import Judge
from rlvr_trainer.coordinator.rollouts import Rollouts


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """Everyone an attempt needs."""

    learner: LearnerFolder
    rollouts: Rollouts
    judge: Judge
    intake: Intake
    exam: Exam | None
    limits: Limits
    chronicle: Chronicle


async def hand_over_batches(crew: Crew, *, folder: Path) -> None:
    """Close one batch after the other and leave each for the learner."""
    for step in range(crew.chronicle.step + 1, crew.limits.steps + 1):
        produced = await crew.intake.next_batch()
        hand_over(crew.chronicle.close(step, produced), folder=folder)


async def follow_policies(crew: Crew) -> None:
    """Move rollouts to every new policy, examine it when due, and let more prompts in."""
    async for policy in crew.learner.policies(until=crew.limits.steps):
        crew.rollouts.move_to(policy.label)
        crew.chronicle.learned(policy, crew.learner.report(policy.step))
        await examine(crew, policy)
        crew.intake.policy_is(policy.step)


async def examine(crew: Crew, policy: Policy) -> None:
    """Evaluate `policy` if it is due; training prompts wait meanwhile."""
    done = crew.chronicle.evaluated_steps
    if crew.exam is None or not is_due(policy.step, every=crew.exam.every, last_step=crew.limits.steps, done=done):
        return
    with crew.chronicle.doing(f"evaluating policy {policy.label}"):
        evaluation = await evaluate(crew.exam, crew.rollouts, crew.judge, step=policy.step)
    if evaluation is not None:
        crew.chronicle.evaluated(evaluation)

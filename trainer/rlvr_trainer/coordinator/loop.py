"""The two stories of an attempt, told side by side from the resumed step to the last.

    hand_over_batches   gather a step's groups -> write them down -> the learner trains
    follow_policies     the learner has a new policy -> rollouts move to it -> it is examined -> more prompts

They meet in admission: no prompt is asked for before the policy it depends on, so with staleness 0 they take turns.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rlvr_trainer.coordinator import evaluation, monitor
from rlvr_trainer.coordinator.admission import Limits
from rlvr_trainer.coordinator.batches import hand_over
from rlvr_trainer.coordinator.chronicle import Chronicle
from rlvr_trainer.coordinator.exam import Exam, answers_to
from rlvr_trainer.coordinator.exchange import LearnerFolder, Policy
from rlvr_trainer.coordinator.intake import Intake
from rlvr_trainer.coordinator.judge import Judge
from rlvr_trainer.coordinator.monitor import Monitor
from rlvr_trainer.coordinator.rollouts import Rollouts


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """Everyone an attempt needs."""

    learner: LearnerFolder
    rollouts: Rollouts
    judge: Judge
    intake: Intake
    exam: Exam | None
    """The held-out prompts."""
    monitor: Monitor | None
    """The monitor prompts, for a length reward that follows them."""
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
        await evaluate(crew, policy)
        await measure_lengths(crew, policy)
        crew.intake.policy_is(policy.step)


async def evaluate(crew: Crew, policy: Policy) -> None:
    """Mark `policy` on the held-out prompts if it is due; training prompts wait meanwhile."""
    exam, done, last = crew.exam, crew.chronicle.evaluated_steps, crew.limits.steps
    if exam is None or not evaluation.is_due(policy.step, every=exam.every, last_step=last, done=done):
        return
    with crew.chronicle.examining(exam, f"evaluating policy {policy.label}"):
        found = evaluation.mark(await answers_to(exam, crew.rollouts, crew.judge), step=policy.step)
    if found is not None:
        crew.chronicle.evaluated(found)


async def measure_lengths(crew: Crew, policy: Policy) -> None:
    """Set the length targets anew if they are due; training prompts wait meanwhile."""
    if crew.monitor is None:
        return
    exam, measured, last = crew.monitor.exam, crew.chronicle.monitored_step, crew.limits.steps
    if monitor.is_due(policy.step, every=exam.every, last_step=last, measured=measured):
        with crew.chronicle.examining(exam, f"measuring lengths of policy {policy.label}"):
            answers = await answers_to(exam, crew.rollouts, crew.judge)
        crew.chronicle.monitored(monitor.measure(answers, search=crew.monitor.search, step=policy.step))

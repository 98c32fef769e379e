"""A fixed set of prompts put to the newest policy, apart from training: what evaluation.py and monitor.py share.

Seeds depend on the job's seed, the purpose and the prompt's place only, so two exams of one policy agree and two
policies are compared on the same draws.  An exam uses up no position of the training stream.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from rlvr_trainer.coordinator.generation import Sampling, seed_of
from rlvr_trainer.coordinator.judge import Judge
from rlvr_trainer.coordinator.rollouts import Rollouts
from rlvr_trainer.data.stream import PromptStream
from rlvr_trainer.samples import ScoredGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """Which prompts are asked, how they are answered, and how often."""

    purpose: str
    """Keeps its seeds apart from those of training and of other exams."""
    prompts: PromptStream
    """Each is asked once."""
    sampling: Sampling
    job_seed: int
    every: int
    """Steps between two exams; evaluation.py and monitor.py say when that is."""


async def answers_to(exam: Exam, rollouts: Rollouts, judge: Judge) -> tuple[ScoredGroup, ...]:
    """A judged group for every prompt, in order, from the policy that the rollouts speak now."""
    async with asyncio.TaskGroup() as tasks:
        answers = [tasks.create_task(_answer(exam, rollouts, judge, place=place)) for place in range(len(exam.prompts))]
    return tuple(answer.result() for answer in answers)


async def _answer(exam: Exam, rollouts: Rollouts, judge: Judge, *, place: int) -> ScoredGroup:
    prompt = exam.prompts.prompt(place)
    seed = seed_of(exam.job_seed, exam.purpose, place)
    return await judge.score(await rollouts.sample(prompt, sampling=exam.sampling, seed=seed))

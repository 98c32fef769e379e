"""Measure a policy on held-out prompts.

Seeds depend on the job's seed and the prompt's place only, so two evaluations of one policy agree and two policies are
compared on the same draws.  A completion that could not be judged is counted apart and is no part of the accuracy.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from rlvr_trainer.coordinator.generation import Sampling, seed_of
from rlvr_trainer.coordinator.judge import Judge
from rlvr_trainer.coordinator.rollouts import Rollouts
from rlvr_trainer.data.stream import PromptStream
from rlvr_trainer.samples import Evaluation, ScoredGroup, Transcript

log = logging.getLogger(__name__)
_NUM_TRANSCRIPTS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """The held-out prompts and how they are answered."""

    prompts: PromptStream
    sampling: Sampling
    job_seed: int
    every: int
    """Steps between evaluations; 0 means only before the first step and after the last."""


def is_due(step: int, *, every: int, last_step: int, done: Collection[int]) -> bool:
    """Whether the policy of `step` finished steps is to be evaluated, given the steps that were.

    With staleness a policy can be skipped; the next one is then evaluated in its place.
    """
    if step in done:
        return False
    return step in (0, last_step) or (every > 0 and step // every > max(done, default=0) // every)


async def evaluate(exam: Exam, rollouts: Rollouts, judge: Judge, *, step: int) -> Evaluation | None:
    """The accuracy of the policy that the rollouts speak now; None when nothing could be judged."""
    async with asyncio.TaskGroup() as tasks:
        answers = [tasks.create_task(_answer(exam, rollouts, judge, place=place)) for place in range(len(exam.prompts))]
    return mark([answer.result() for answer in answers], step=step)


async def _answer(exam: Exam, rollouts: Rollouts, judge: Judge, *, place: int) -> ScoredGroup:
    prompt = exam.prompts.prompt(place)
    seed = seed_of(exam.job_seed, "eval", place)
    return await judge.score(await rollouts.sample(prompt, sampling=exam.sampling, seed=seed))


def mark(answers: Sequence[ScoredGroup], *, step: int) -> Evaluation | None:
    """Accuracy over all completions judged without error; None when there is none."""
    verdicts = [verdict for answer in answers for verdict in answer.verdicts]
    judged = [verdict for verdict in verdicts if verdict.score is not None]
    if not judged:
        log.warning("the evaluation at step %d has no result: all %d verdicts are errors", step, len(verdicts))
        return None
    lengths = [len(completion.token_ids) for answer in answers for completion in answer.group.completions]
    return Evaluation(
        step=step,
        accuracy=sum(verdict.is_correct for verdict in judged) / len(judged),
        num_completions=len(judged),
        num_errors=len(verdicts) - len(judged),
        mean_tokens=sum(lengths) / len(lengths),
        transcripts=tuple(_transcript(answer) for answer in answers[:_NUM_TRANSCRIPTS]),
    )


def _transcript(answer: ScoredGroup) -> Transcript:
    prompt = answer.group.prompt
    return Transcript(
        question=prompt.text,
        expected=prompt.task.answer,
        completion=answer.group.completions[0].text,
        outcome=answer.verdicts[0].outcome,
    )

"""Measure a policy on held-out prompts.

A completion that could not be judged is counted apart and is no part of the accuracy.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from statistics import fmean
from typing import Final

from rlvr_trainer.algorithms.passk import pass_at_k
from rlvr_trainer.samples import Evaluation, ScoredGroup, Transcript

log = logging.getLogger(__name__)
_NUM_TRANSCRIPTS: Final = 16


def is_due(step: int, *, every: int, last_step: int, done: Collection[int]) -> bool:
    """Whether the policy of `step` finished steps is to be evaluated, given the steps that were.

    With `every` 0 only before the first step and after the last.  With staleness a policy can be skipped; the next one
    is then evaluated in its place.
    """
    if step in done:
        return False
    return step in (0, last_step) or (every > 0 and step // every > max(done, default=0) // every)


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
        pass_at=pass_at(answers),
    )


def pass_at(answers: Sequence[ScoredGroup]) -> dict[int, float]:
    """Mean pass@k over prompts, for k = 2, 4, 8, ... and the most completions that every prompt has judged.

    A prompt of which nothing could be judged has no part in it.
    """
    counts = [(answer.num_judged, answer.num_correct) for answer in answers if answer.num_judged]
    most = min((judged for judged, _ in counts), default=0)
    powers = [1 << bits for bits in range(1, most.bit_length())]
    return {
        k: fmean(pass_at_k(num_completions=judged, num_correct=correct, k=k) for judged, correct in counts)
        for k in sorted({*powers, most} - {0, 1})
    }


def _transcript(answer: ScoredGroup) -> Transcript:
    prompt = answer.group.prompt
    return Transcript(
        question=prompt.text,
        expected=prompt.task.answer,
        completion=answer.group.completions[0].text,
        outcome=answer.verdicts[0].outcome,
    )

"""A step's facts become opinions: rewards, advantages, and tensors to compute with.

P groups, G completions each, B = P * G rows in the order of their groups, S positions (prompt and completion, padded on
the right), T completion tokens.

Pure.  Order of derivation: worth of the outcome, length shaping, advantage within the group, emphasis of the group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rlvr_trainer.algorithms.recipe import Recipe
from rlvr_trainer.algorithms.rewards import Answers
from rlvr_trainer.samples import Completion, Group, Outcome, ScoredGroup, StepFacts, Verdict


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """All completions of a step, row after row."""

    tokens_BS: Tensor
    """Prompt, completion, then zeros."""
    prompt_lengths_B: Tensor
    completion_lengths_B: Tensor
    mask_BT: Tensor
    """Where a row has a completion token."""
    sampling_BT: Tensor
    """Log-probabilities that the engine reported; 0 at pads."""
    reward_PG: Tensor
    """Shaped."""
    advantage_B1: Tensor

    @property
    def group_size(self) -> int:
        return self.reward_PG.shape[1]

    @property
    def num_groups(self) -> int:
        return self.reward_PG.shape[0]

    @property
    def num_tokens(self) -> int:
        """Completion tokens."""
        return int(self.completion_lengths_B.sum())

    def to(self, device: torch.device) -> Self:
        return replace(self, **{name: tensor.to(device) for name, tensor in self._tensors().items()})

    def _tensors(self) -> dict[str, Any]:
        return {field.name: value for field in fields(self) if isinstance(value := getattr(self, field.name), Tensor)}


def build_batch(facts: StepFacts, recipe: Recipe) -> Batch:
    """The tensors of a step under a recipe.  Groups have one size and no verdict is an error."""
    answers = answers_of(facts.groups)
    reward_PG = recipe.rewards(answers, facts.step, facts.state.length_targets)
    completions = [(scored.group, completion) for scored in facts.groups for completion in scored.group.completions]
    completion_lengths_B = answers.lengths_PG.flatten()
    return Batch(
        tokens_BS=pad_sequence([_tokens(group, completion) for group, completion in completions], batch_first=True),
        prompt_lengths_B=torch.tensor([len(group.prompt.token_ids) for group, _ in completions]),
        completion_lengths_B=completion_lengths_B,
        mask_BT=torch.arange(int(completion_lengths_B.max())) < completion_lengths_B[:, None],
        sampling_BT=pad_sequence(
            [torch.tensor(completion.logprobs) for _, completion in completions], batch_first=True
        ),
        reward_PG=reward_PG,
        advantage_B1=recipe.advantages(reward_PG, answers.correct_PG).reshape(-1, 1),
    )


def answers_of(groups: Sequence[ScoredGroup]) -> Answers:
    """What the judge found, as tensors of one row per group."""
    return Answers(
        score_PG=_of_verdicts(groups, _score),
        correct_PG=_of_verdicts(groups, lambda verdict: verdict.is_correct),
        malformed_PG=_of_verdicts(groups, lambda verdict: verdict.outcome is Outcome.MALFORMED),
        truncated_PG=_of_verdicts(groups, lambda verdict: verdict.outcome is Outcome.TRUNCATED),
        lengths_PG=torch.tensor([[len(c.token_ids) for c in scored.group.completions] for scored in groups]),
    )


def _of_verdicts(groups: Sequence[ScoredGroup], ask: Callable[[Verdict], float]) -> Tensor:
    return torch.tensor([[ask(verdict) for verdict in scored.verdicts] for scored in groups])


def _score(verdict: Verdict) -> float:
    assert verdict.score is not None, "a group with an error verdict reached the learner; the coordinator drops those"
    return verdict.score


def _tokens(group: Group, completion: Completion) -> Tensor:
    return torch.from_numpy(np.concatenate([group.prompt.token_ids, completion.token_ids], dtype=np.int64))

"""How much better a completion is than its siblings.

P prompts, G completions per prompt.  Every group is complete: a completion is never removed before its group's
statistics are taken.
"""

from __future__ import annotations

import torch
from torch import Tensor


def group_normalized(rewards_PG: Tensor, *, ddof: int = 1, epsilon: float = 1e-6) -> Tensor:
    """A = (R - mean R) / (std R + epsilon): GRPO, DeepSeekMath section 4.1.2, with verl's ddof and epsilon.

    A flat group gives exactly 0.  A group of one has mean 0 and deviation 1, as in verl: its advantage is its reward.
    """
    if rewards_PG.shape[-1] == 1:
        return rewards_PG / (1 + epsilon)
    deviation_P1 = rewards_PG.std(-1, correction=ddof, keepdim=True)
    return torch.where(_is_flat(rewards_PG), 0.0, centered(rewards_PG) / (deviation_P1 + epsilon))


def centered(rewards_PG: Tensor) -> Tensor:
    """A = R - mean R: Dr.GRPO (2503.20783 section 3.2).  A flat group gives exactly 0."""
    advantage_PG = rewards_PG - rewards_PG.mean(-1, keepdim=True)
    return torch.where(_is_flat(rewards_PG), 0.0, advantage_PG)


def leave_one_out(rewards_PG: Tensor) -> Tensor:
    """A = R - mean of the siblings: RLOO (2402.14740).  Needs groups of two or more."""
    size = rewards_PG.shape[-1]
    assert size > 1, f"groups of {size} have no siblings to compare with; sample at least 2 completions per prompt"
    return centered(rewards_PG) * (size / (size - 1))


def _is_flat(rewards_PG: Tensor) -> Tensor:
    """Asked of the rewards themselves, for their mean is rounded."""
    return rewards_PG.amax(-1, keepdim=True) == rewards_PG.amin(-1, keepdim=True)

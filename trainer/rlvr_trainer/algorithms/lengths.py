"""Length enters the reward here: soft overlong punishment, and the family C + lambda S of Laser (2505.15612 table 2).

P prompts, G completions per prompt.  `base_PG` is the verifier's reward, `correct_PG` a bool fact, `lengths_PG`
completion tokens with the end token.  Whether a completion is correct is always read from the facts, never from the
value of a reward.  Where a paper and its released code disagree, the paper is the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from rlvr_trainer.algorithms.targets import Difficulty, difficulty

Form = Literal["paper", "released"]


def soft_overlong(lengths_PG: Tensor, *, max_tokens: int, cache: int, floor: bool = True) -> Tensor:
    """0 up to max_tokens - cache, then linear to -1 at max_tokens (DAPO eq. 13); without `floor` it goes on (verl)."""
    penalty_PG = ((max_tokens - cache) - lengths_PG).clamp(max=0) / cache
    return penalty_PG.clamp(min=-1) if floor else penalty_PG


def truncation(base_PG: Tensor, lengths_PG: Tensor, *, target: float, beyond: float = 0.0) -> Tensor:
    """R up to the target length, `beyond` after it (Laser's truncation baseline; ThinkPrune)."""
    return torch.where(lengths_PG <= target, base_PG, beyond)


def efficient(base_PG: Tensor, correct_PG: Tensor, lengths_PG: Tensor, *, alpha: float, form: Form = "paper") -> Tensor:
    """R - alpha sigmoid((L - mean) / std) for correct completions, statistics over the correct ones of the group.

    Efficient Reasoning (2502.04463) as in Laser's table; Laser's code multiplies R by 1 - alpha sigmoid instead.  A
    lone correct completion has mean 0 and std 1 (their code); where all are equally long, std is 1.
    """
    mean_P1, std_P1 = spread(lengths_PG, correct_PG)
    std_P1 = torch.where(std_P1 == 0, 1.0, std_P1)
    loss_PG = torch.where(correct_PG, alpha * torch.sigmoid((lengths_PG - mean_P1) / std_P1), 0.0)
    return base_PG - loss_PG if form == "paper" else base_PG * (1 - loss_PG)


def spread(lengths_PG: Tensor, correct_PG: Tensor) -> tuple[Tensor, Tensor]:
    """[P, 1] mean and standard deviation (ddof 1) of the correct completions' lengths; 0 and 1 for a lone one.

    Without a correct one the mean is NaN.
    """
    num_P1 = correct_PG.sum(-1, keepdim=True)
    mean_P1 = torch.where(correct_PG, lengths_PG, 0.0).sum(-1, keepdim=True) / num_P1
    square_P1 = torch.where(correct_PG, lengths_PG - mean_P1, 0.0).square().sum(-1, keepdim=True)
    std_P1 = (square_P1 / (num_P1 - 1)).sqrt()
    return torch.where(num_P1 == 1, 0.0, mean_P1), torch.where(num_P1 == 1, 1.0, std_P1)


def kimi(base_PG: Tensor, correct_PG: Tensor, lengths_PG: Tensor, *, coefficient: float = 1.0) -> Tensor:
    """R + coefficient S, S = 1/2 - (L - Lmin) / (Lmax - Lmin), at most 0 if wrong, 0 if all lengths are equal.

    Kimi k1.5 (2501.12599); Laser's runs used coefficient 0.4.
    """
    shortest_P1, longest_P1 = lengths_PG.amin(-1, keepdim=True), lengths_PG.amax(-1, keepdim=True)
    spread_P1 = (longest_P1 - shortest_P1).to(base_PG)
    score_PG = 0.5 - (lengths_PG - shortest_P1) / spread_P1
    score_PG = torch.where(correct_PG, score_PG, score_PG.clamp(max=0))
    return base_PG + coefficient * torch.where(spread_P1 > 0, score_PG, 0.0)


def l1_exact(base_PG: Tensor, lengths_PG: Tensor, *, target: float, alpha: float = 3e-4) -> Tensor:
    """R - alpha |L - target| (L1, 2503.04697)."""
    return base_PG - alpha * (lengths_PG - target).abs()


def l1_max(correct_PG: Tensor, lengths_PG: Tensor, *, target: float, alpha: float = 3e-4, delta: float = 0.5) -> Tensor:
    """clip(alpha (target - L) + delta, 0, 1) if correct, else 0 (L1; Laser's table prints the sign reversed)."""
    return torch.where(correct_PG, (alpha * (target - lengths_PG) + delta).clamp(0, 1), 0.0)


def l1_max_released(correct_PG: Tensor, lengths_PG: Tensor, *, target: float, alpha: float) -> Tensor:
    """1/2 + 1/2 clip(alpha (target - L), -1, 1) if correct, else 0: L1's code, half the paper's slope."""
    return torch.where(correct_PG, 0.5 + 0.5 * (alpha * (target - lengths_PG)).clamp(-1, 1), 0.0)


def o1_pruner(
    correct_PG: Tensor,
    lengths_PG: Tensor,
    *,
    ref_length: Tensor | float,
    ref_accuracy: Tensor | float,
    lam: float,
) -> Tensor:
    """Lref / L - 1 + lam (A - Aref), Lref and Aref being the reference model's means (2501.12570).

    The means are one number, or [P, 1] per prompt.
    """
    brevity_PG = ref_length / lengths_PG - 1
    return brevity_PG + lam * (correct_PG.to(brevity_PG.dtype) - ref_accuracy)


def laser(base_PG: Tensor, correct_PG: Tensor, lengths_PG: Tensor, *, target: Tensor | float, alpha: float) -> Tensor:
    """R + alpha if correct and no longer than the target (2505.15612 section 4.3).

    `target` is one number, or [P, 1] per difficulty: then it is Laser-D (section 5.2).
    """
    return base_PG + torch.where(correct_PG & (lengths_PG <= target), alpha, 0.0)


def laser_de(
    base_PG: Tensor,
    correct_PG: Tensor,
    lengths_PG: Tensor,
    readable_PG: Tensor,
    *,
    target: Tensor | float,
    alpha: float,
) -> Tensor:
    """Laser, and + alpha for wrong, readable answers longer than the target: exploration (2505.15612 section 5.3)."""
    explores_PG = ~correct_PG & readable_PG & (lengths_PG > target)
    return laser(base_PG, correct_PG, lengths_PG, target=target, alpha=alpha) + torch.where(explores_PG, alpha, 0.0)


def targets_of(
    correct_PG: Tensor, lengths_PG: Tensor, targets: Mapping[Difficulty, int], *, boundary_is_easier: bool = True
) -> Tensor:
    """[P, G] target of each completion: that of its group's difficulty, at most the batch's longest completion.

    Laser-D section 5.2 with the cap of its released code; the same number throughout a group.
    """
    longest, (_, size) = lengths_PG.max(), correct_PG.shape
    names = [
        difficulty(int(num_correct), size, boundary_is_easier=boundary_is_easier) for num_correct in correct_PG.sum(-1)
    ]
    target_P1 = torch.tensor([[targets[name]] for name in names], device=lengths_PG.device).clamp(max=longest)
    return target_P1.expand_as(lengths_PG)

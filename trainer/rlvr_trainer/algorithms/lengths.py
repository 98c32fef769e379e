"""Length enters the reward here: soft overlong punishment, and the family C + lambda S of Laser (2505.15612 table 2).

P prompts, G completions per prompt, M monitor completions, K grid points.  `base_PG` is the verifier's reward,
`correct_PG` a bool fact, `lengths_PG` completion tokens with the end token.  Whether a completion is correct is always
read from the facts, never from the value of a reward.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Difficulty = Literal["hard", "medium", "easy"]
Rounding = Literal["ceil", "floor"]


def soft_overlong(lengths_PG: Tensor, *, max_tokens: int, cache: int, floor: bool = True) -> Tensor:
    """0 up to max_tokens - cache, then linear to -1 at max_tokens (DAPO eq. 13); without `floor` it goes on (verl)."""
    penalty_PG = ((max_tokens - cache) - lengths_PG).clamp(max=0) / cache
    return penalty_PG.clamp(min=-1) if floor else penalty_PG


def truncation(base_PG: Tensor, lengths_PG: Tensor, *, target: float, beyond: float = 0.0) -> Tensor:
    """R up to the target length, `beyond` after it (Laser's truncation baseline; ThinkPrune)."""
    return torch.where(lengths_PG <= target, base_PG, beyond)


def efficient(base_PG: Tensor, correct_PG: Tensor, lengths_PG: Tensor, *, alpha: float) -> Tensor:
    """R - alpha sigmoid((L - mean) / std) for correct completions, statistics over the correct ones of the group.

    Efficient Reasoning (2502.04463) as in Laser's table; a lone correct completion has mean 0 and std 1 (their code).
    """
    num_P1 = correct_PG.sum(-1, keepdim=True)
    mean_P1 = torch.where(correct_PG, lengths_PG, 0.0).sum(-1, keepdim=True) / num_P1.clamp(min=1)
    square_P1 = torch.where(correct_PG, lengths_PG - mean_P1, 0.0).square().sum(-1, keepdim=True)
    std_P1 = (square_P1 / (num_P1 - 1).clamp(min=1)).sqrt()
    alone_P1 = num_P1 == 1
    mean_P1, std_P1 = torch.where(alone_P1, 0.0, mean_P1), torch.where(alone_P1 | (std_P1 == 0), 1.0, std_P1)
    return base_PG - torch.where(correct_PG, alpha * torch.sigmoid((lengths_PG - mean_P1) / std_P1), 0.0)


def kimi(base_PG: Tensor, correct_PG: Tensor, lengths_PG: Tensor, *, coefficient: float = 1.0) -> Tensor:
    """R + coefficient S, S = 1/2 - (L - Lmin) / (Lmax - Lmin), at most 0 if wrong, 0 if all lengths are equal.

    Kimi k1.5 (2501.12599); Laser's runs used coefficient 0.4.
    """
    shortest_P1, longest_P1 = lengths_PG.amin(-1, keepdim=True), lengths_PG.amax(-1, keepdim=True)
    spread_P1 = (longest_P1 - shortest_P1).to(base_PG)
    score_PG = 0.5 - (lengths_PG - shortest_P1) / spread_P1.clamp(min=1)
    score_PG = torch.where(correct_PG, score_PG, score_PG.clamp(max=0))
    return base_PG + coefficient * torch.where(spread_P1 > 0, score_PG, 0.0)


def l1_exact(base_PG: Tensor, lengths_PG: Tensor, *, target: float, alpha: float = 3e-4) -> Tensor:
    """R - alpha |L - target| (L1, 2503.04697)."""
    return base_PG - alpha * (lengths_PG - target).abs()


def l1_max(correct_PG: Tensor, lengths_PG: Tensor, *, target: float, alpha: float = 3e-4, delta: float = 0.5) -> Tensor:
    """clip(alpha (target - L) + delta, 0, 1) if correct, else 0 (L1; Laser's table prints the sign reversed)."""
    return torch.where(correct_PG, (alpha * (target - lengths_PG) + delta).clamp(0, 1), 0.0)


def o1_pruner(correct_PG: Tensor, lengths_PG: Tensor, *, ref_length: float, ref_accuracy: float, lam: float) -> Tensor:
    """Lref / L - 1 + lam (A - Aref), Lref and Aref being the reference model's means (2501.12570)."""
    return ref_length / lengths_PG - 1 + lam * (correct_PG.to(torch.get_default_dtype()) - ref_accuracy)


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


def difficulty(accuracy: float, *, boundary_is_easier: bool = True) -> Difficulty:
    """Easy from 2/3, medium from 1/3 (Laser-D); its monitor puts exactly 1/3 and 2/3 into the harder bucket."""
    if accuracy > 2 / 3 or (boundary_is_easier and accuracy == 2 / 3):
        return "easy"
    if accuracy > 1 / 3 or (boundary_is_easier and accuracy == 1 / 3):
        return "medium"
    return "hard"


def length_grid(lowest: int, highest: int, *, step: int) -> tuple[int, ...]:
    """Candidate target lengths (Laser-D): from `lowest` by `step`; a lowest below the step precedes a grid of steps."""
    if lowest < step:
        return (lowest, *range(step, highest + 1, step))
    return tuple(range(lowest, highest + 1, step))


def coverage(lengths_M: Tensor, grid: tuple[int, ...]) -> Tensor:
    """[K] share of completions, right or wrong, no longer than each candidate; NaN without completions."""
    return _num_within(lengths_M, grid) / lengths_M.numel()


def required_correct(bucket: Difficulty, *, group_size: int, rounding: Rounding) -> int:
    """|C|: the fewest correct completions of a group in this bucket (Laser-D eq. 3); the released code rounds down."""
    if bucket == "hard":
        return 1
    thirds = 2 * group_size if bucket == "easy" else group_size
    return max(1, -(-thirds // 3) if rounding == "ceil" else thirds // 3)


def target_length(lengths_M: Tensor, grid: tuple[int, ...], *, required: int, longest: int) -> int:
    """Smallest candidate below `longest` with an expected number of correct completions (coverage * required) of at
    least 1, else `longest` (Laser-D eq. 3).  A bucket without completions gets `longest`.
    """
    total = lengths_M.numel()
    within = zip(grid, _num_within(lengths_M, grid).tolist(), strict=True)
    return min(
        (length for length, n in within if total and n * required >= total and length < longest), default=longest
    )


def _num_within(lengths_M: Tensor, grid: tuple[int, ...]) -> Tensor:
    return (lengths_M[None, :] <= torch.tensor(grid, device=lengths_M.device)[:, None]).sum(-1)

"""Which tokens the policy was undecided about.

B sequences, T tokens, Q percentages.  Pads never count and are never selected.  A threshold is exact for any number of
tokens (torch.quantile refuses more than 2^24).  Entropies are nats of the distribution that sampled, detached.

Functions work on whatever rows they are given: for a threshold over the step's batch give them the whole batch, for
one per micro-batch give them that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def kept_tokens(num_tokens: int, *, share: float) -> int:
    """How many of `num_tokens` the 80/20 rule keeps: max(1, int(n share + 0.9999)), as its authors' code does."""
    return min(num_tokens, max(1, int(num_tokens * share + 0.9999)))


def top_share(entropy_BT: Tensor, mask_BT: Tensor, *, share: float) -> Tensor:
    """The `share` of tokens with the highest entropy over all rows (2506.01939 eq. 6), exactly `kept_tokens` of them.

    Among equals at the threshold the first in row order are kept.
    """
    ranked_N = _descending(entropy_BT, mask_BT).flatten().argsort(descending=True, stable=True)
    kept = kept_tokens(int(mask_BT.sum()), share=share)
    selected_N = torch.zeros_like(mask_BT).flatten()
    selected_N[ranked_N[:kept]] = True
    return selected_N.view_as(mask_BT)


def top_share_of_sequence(entropy_BT: Tensor, mask_BT: Tensor, *, share: float) -> Tensor:
    """As `top_share`, over each sequence by itself."""
    rows = [
        top_share(entropy_1T, mask_1T, share=share) for entropy_1T, mask_1T in zip(entropy_BT, mask_BT, strict=True)
    ]
    return torch.stack(rows) if rows else torch.zeros_like(mask_BT)


def above_quantile(entropy_BT: Tensor, mask_BT: Tensor, *, quantile: float, ties_are_high: bool = False) -> Tensor:
    """Tokens above their own sequence's entropy quantile: Archer's reasoning tokens (2507.15778 eq. 3).

    The released code asks for more than the quantile, the paper for at least it (`ties_are_high`), which selects
    every token of a sequence that is nearly always certain.
    """
    threshold_B1 = sequence_quantile(entropy_BT, mask_BT, quantile=quantile)
    high_BT = entropy_BT >= threshold_B1 if ties_are_high else entropy_BT > threshold_B1
    return high_BT & mask_BT


def sequence_quantile(entropy_BT: Tensor, mask_BT: Tensor, *, quantile: float) -> Tensor:
    """[B, 1] quantile of each row, interpolated linearly between order statistics; NaN for a row without tokens."""
    ascending_BT = entropy_BT.masked_fill(~mask_BT, math.inf).sort(-1).values
    num_B1 = mask_BT.sum(-1, keepdim=True)
    place_B1 = (num_B1 - 1).clamp(min=0).double() * quantile
    below_B1 = place_B1.floor()
    low_B1 = ascending_BT.gather(-1, below_B1.long())
    high_B1 = ascending_BT.gather(-1, place_B1.ceil().long())
    step_B1 = torch.where(high_B1 > low_B1, high_B1 - low_B1, 0.0) * (place_B1 - below_B1).to(low_B1)
    return (low_B1 + step_B1).masked_fill(num_B1 == 0, math.nan)


def batch_quantile(entropy_BT: Tensor, mask_BT: Tensor, *, quantile: float) -> Tensor:
    """One quantile over the tokens of all rows; NaN without tokens."""
    return sequence_quantile(entropy_BT.reshape(1, -1), mask_BT.reshape(1, -1), quantile=quantile).squeeze()


def by_class(is_high_BT: Tensor, *, high: float, low: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """One number for tokens of high entropy, another for the rest: Archer's eps and beta (2507.15778 eq. 4)."""
    return torch.full_like(is_high_BT, low, dtype=dtype).masked_fill(is_high_BT, high)


def overlap(selected_BT: Tensor, other_BT: Tensor) -> Tensor:
    """|A and B| / |A|: how much of one selection another shares; NaN for an empty one (2506.01939 section 5)."""
    return (selected_BT & other_BT).sum() / selected_BT.sum()


def percentiles(entropy_BT: Tensor, mask_BT: Tensor, *, percents: Sequence[float]) -> Tensor:
    """[Q] entropy percentiles over the tokens of all rows, for the record; NaN without tokens."""
    return torch.stack([batch_quantile(entropy_BT, mask_BT, quantile=percent / 100) for percent in percents])


def _descending(entropy_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Entropies with pads last in any descending order."""
    return entropy_BT.detach().masked_fill(~mask_BT, -math.inf)

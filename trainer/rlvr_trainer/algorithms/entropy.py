"""Which tokens the policy was undecided about.

B sequences, T tokens, N tokens that count, Q quantiles.  Pads never count and are never selected.  Entropies are nats
of the distribution that sampled, detached, and finite.

What is said of all rows of a step is exact for any number of tokens and of ranks: see `ranking`.  A rank passes its own
rows and its `Share` of the step; every rank must then make the same calls.  For one threshold per micro-batch give the
functions just that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rlvr_trainer.algorithms.ranking import WHOLE, Share, first_in_order, order_statistics


def kept_tokens(num_tokens: int, *, share: float) -> int:
    """How many of `num_tokens` the 80/20 rule keeps: max(1, int(n share + 0.9999)), as its authors' code does."""
    return min(num_tokens, max(1, int(num_tokens * share + 0.9999)))


def top_share(entropy_BT: Tensor, mask_BT: Tensor, *, share: float, of: Share = WHOLE) -> Tensor:
    """The `share` of tokens with the highest entropy over all rows (2506.01939 eq. 6), exactly `kept_tokens` of them.

    Among equals at the threshold the first ones win: by row of the step, then by token.  So how the step is cut into
    ranks, batches and paddings decides nothing: the ranks' masks are the parts of the whole step's mask.
    """
    kept = kept_tokens(of.total(mask_BT.sum()), share=share)
    return first_in_order(-entropy_BT.detach(), mask_BT, count=kept, of=of)


def top_share_of_sequence(entropy_BT: Tensor, mask_BT: Tensor, *, share: float) -> Tensor:
    """As `top_share`, over each sequence by itself."""
    order_BT = entropy_BT.detach().masked_fill(~mask_BT, -math.inf).argsort(dim=-1, descending=True, stable=True)
    kept = [kept_tokens(num_tokens, share=share) for num_tokens in mask_BT.sum(-1).tolist()]
    place_T = torch.arange(mask_BT.shape[-1], device=mask_BT.device)
    first_BT = place_T < torch.tensor(kept, device=mask_BT.device)[:, None]
    return torch.zeros_like(mask_BT).scatter(-1, order_BT, first_BT)


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
    ascending_BT = entropy_BT.detach().masked_fill(~mask_BT, math.inf).sort(-1).values
    num_B1 = mask_BT.sum(-1, keepdim=True)
    place_B1 = (num_B1 - 1).clamp(min=0).double() * quantile
    low_B1, high_B1 = (ascending_BT.gather(-1, at_B1.long()) for at_B1 in (place_B1.floor(), place_B1.ceil()))
    return _between(low_B1, high_B1, place_B1.frac()).masked_fill(num_B1 == 0, math.nan)


def batch_quantile(entropy_BT: Tensor, mask_BT: Tensor, *, quantile: float, of: Share = WHOLE) -> Tensor:
    """One quantile over the tokens of all rows; NaN without tokens."""
    return _quantiles(entropy_BT, mask_BT, [quantile], of).squeeze()


def percentiles(entropy_BT: Tensor, mask_BT: Tensor, *, percents: Sequence[float], of: Share = WHOLE) -> Tensor:
    """[Q] entropy percentiles over the tokens of all rows, for the record; NaN without tokens."""
    return _quantiles(entropy_BT, mask_BT, [percent / 100 for percent in percents], of)


def by_class(is_high_BT: Tensor, *, high: float, low: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """One number for tokens of high entropy, another for the rest: Archer's eps and beta (2507.15778 eq. 4)."""
    return torch.full_like(is_high_BT, low, dtype=dtype).masked_fill(is_high_BT, high)


def overlap(selected_BT: Tensor, other_BT: Tensor) -> Tensor:
    """|A and B| / |A|: how much of one selection another shares; NaN for an empty one (2506.01939 section 5)."""
    return (selected_BT & other_BT).sum() / selected_BT.sum()


def _quantiles(entropy_BT: Tensor, mask_BT: Tensor, quantiles: Sequence[float], of: Share) -> Tensor:
    num_tokens = of.total(mask_BT.sum())
    if num_tokens == 0:
        return entropy_BT.new_full((len(quantiles),), math.nan)
    place_Q = (num_tokens - 1) * torch.tensor(quantiles, dtype=torch.float64)
    places = sorted({int(place) for at_Q in (place_Q.floor(), place_Q.ceil()) for place in at_Q})
    found = dict(zip(places, order_statistics(entropy_BT.detach()[mask_BT], places, of=of), strict=True))
    low_Q, high_Q = (torch.stack([found[int(at)] for at in at_Q]) for at_Q in (place_Q.floor(), place_Q.ceil()))
    return _between(low_Q, high_Q, place_Q.frac().to(low_Q.device))


def _between(low: Tensor, high: Tensor, fraction: Tensor) -> Tensor:
    """Linear interpolation, exact between equals."""
    return low + (high - low) * fraction.to(low)

"""Token losses, to be minimised, and the four ways to add them up.

B sequences, T tokens; `_BT` values count where `mask_BT` is true, and pads may hold anything.  `_B1` is one value per
sequence.  Numbers written `float | Tensor` may differ per token.  Reductions divide by totals of the whole optimizer
update, given by the caller: the results of micro-batches and ranks add up to the loss of the update.
"""

from __future__ import annotations

import torch
from torch import Tensor

Number = float | Tensor


def log_ratio(logprob_BT: Tensor, proximal_BT: Tensor, *, limit: float = 20.0) -> Tensor:
    """Log of pi / pi_proximal, clamped to +-limit (verl): beyond it the exponential says nothing any more."""
    return (logprob_BT - proximal_BT).clamp(-limit, limit)


def sequence_log_ratio(log_ratio_BT: Tensor, mask_BT: Tensor, *, limit: float = 10.0) -> Tensor:
    """[B, 1] mean log-ratio of each sequence: ln s_i of GSPO (2507.18071 eq. 7), at most `limit` (verl)."""
    return _row_mean(log_ratio_BT, mask_BT).clamp(max=limit)


def clipped_loss(
    ratio_BT: Tensor, advantage_B1: Tensor, *, eps_low: Number, eps_high: Number, dual_clip: float | None = None
) -> Tensor:
    """max(-A r, -A clip(r, 1 - eps_low, 1 + eps_high)), and at most -A c where A < 0 (dual clip, 1912.09729; c > 1).

    DAPO's clip-higher (2503.14476 eq. 10) is eps_high > eps_low; Archer gives both per token; GSPO gives a sequence
    ratio [B, 1].
    """
    lowest, highest = _bounds(ratio_BT, eps_low, eps_high)
    loss_BT = torch.maximum(-advantage_B1 * ratio_BT, -advantage_B1 * ratio_BT.clamp(lowest, highest))
    if dual_clip is None:
        return loss_BT
    stopped_BT = is_dual_clipped(ratio_BT, advantage_B1, dual_clip=dual_clip)
    return torch.where(stopped_BT, -advantage_B1 * dual_clip, loss_BT)


def is_clipped(ratio_BT: Tensor, advantage_B1: Tensor, *, eps_low: Number, eps_high: Number) -> Tensor:
    """Tokens whose gradient the clip stops: beyond the bound towards which their advantage pushes them."""
    lowest, highest = _bounds(ratio_BT, eps_low, eps_high)
    return ((advantage_B1 > 0) & (ratio_BT > highest)) | ((advantage_B1 < 0) & (ratio_BT < lowest))


def is_dual_clipped(ratio_BT: Tensor, advantage_B1: Tensor, *, dual_clip: float) -> Tensor:
    """Tokens whose gradient the dual clip stops."""
    return (advantage_B1 < 0) & (ratio_BT > dual_clip)


def asymmetric_loss(
    log_ratio_BT: Tensor, advantage_B1: Tensor, *, eps_low: Number, eps_high: Number, cap: float = 3.0
) -> Tensor:
    """ASPO (2510.06062, released code): -A w with w = 1/r where A > 0 and w = r where A < 0, both at most `cap`.

    w is 0 beyond the clip bound, and a constant for the gradient: d loss / d logprob = -A w.
    """
    ratio_BT = log_ratio_BT.detach().exp()
    stopped_BT = is_clipped(ratio_BT, advantage_B1, eps_low=eps_low, eps_high=eps_high)
    weight_BT = torch.where(advantage_B1 > 0, 1 / ratio_BT, ratio_BT).clamp(max=cap).masked_fill(stopped_BT, 0.0)
    return -advantage_B1 * weight_BT * (log_ratio_BT - log_ratio_BT.detach()).exp()


def kl_k1(logprob_BT: Tensor, reference_BT: Tensor) -> Tensor:
    """Difference logprob - reference: unbiased, noisy, of either sign (Schulman, "Approximating KL divergence")."""
    return logprob_BT - reference_BT


def kl_k2(logprob_BT: Tensor, reference_BT: Tensor) -> Tensor:
    """(logprob - reference)^2 / 2: biased; its gradient is that of the KL."""
    return (logprob_BT - reference_BT).square() / 2


def kl_k3(logprob_BT: Tensor, reference_BT: Tensor, *, limit: float = 20.0, ceiling: float = 10.0) -> Tensor:
    """exp(d) - d - 1 with d = reference - logprob, d within +-limit and the result at most `ceiling` (verl)."""
    d_BT = (reference_BT - logprob_BT).clamp(-limit, limit)
    return (d_BT.exp() - d_BT - 1).clamp(max=ceiling)


def token_mean(loss_BT: Tensor, mask_BT: Tensor, *, num_tokens: int) -> Tensor:
    """Sum over tokens / tokens of the update: DAPO eq. 12; with a token selection, 2506.01939 eq. 6."""
    return _masked(loss_BT, mask_BT).sum() / max(num_tokens, 1)


def sequence_mean_of_token_means(loss_BT: Tensor, mask_BT: Tensor, *, num_sequences: int) -> Tensor:
    """Each sequence's token mean, averaged over the sequences of the update: GRPO, DeepSeekMath eq. 3."""
    return _row_mean(loss_BT, mask_BT).sum() / max(num_sequences, 1)


def sequence_mean_of_token_sums(loss_BT: Tensor, mask_BT: Tensor, *, num_sequences: int) -> Tensor:
    """Each sequence's token sum, averaged over the sequences of the update."""
    return _masked(loss_BT, mask_BT).sum() / max(num_sequences, 1)


def constant(loss_BT: Tensor, mask_BT: Tensor, *, num_sequences: int, budget: int) -> Tensor:
    """Sum over tokens / (sequences of the update * generation budget): Dr.GRPO, no length enters."""
    return sequence_mean_of_token_sums(loss_BT, mask_BT, num_sequences=num_sequences) / budget


def _bounds(ratio_BT: Tensor, eps_low: Number, eps_high: Number) -> tuple[Tensor, Tensor]:
    lowest, highest = (
        bound.to(ratio_BT) if isinstance(bound, Tensor) else ratio_BT.new_tensor(bound)
        for bound in (1 - eps_low, 1 + eps_high)
    )
    return lowest, highest


def _masked(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """`where`, not a product: a pad that holds infinity must not become NaN."""
    return torch.where(mask_BT, values_BT, 0.0)


def _row_mean(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    return _masked(values_BT, mask_BT).sum(-1, keepdim=True) / mask_BT.sum(-1, keepdim=True).clamp(min=1)

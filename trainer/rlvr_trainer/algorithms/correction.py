"""Rollout and learner disagree a little about the same policy; measure it and correct for it.

B sequences, T tokens; `_BT` values count where `mask_BT` is true.  `sampling` is what the engine reported, `proximal`
what the learner computes with the weights that start the step.  The results are constants: no gradient flows.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from rlvr_trainer.algorithms.losses import kl_k1, kl_k3

Level = Literal["token", "sequence", "geometric"]
Mode = Literal["truncate", "mask"]


def importance_weights(
    mismatch_BT: Tensor,
    mask_BT: Tensor,
    *,
    cap: float,
    level: Level = "token",
    mode: Mode = "truncate",
    veto: float = 0.0,
) -> Tensor:
    """[B, T] factors of the token loss from mismatch = proximal - sampling: min(w, cap), or with `mask` w where it is
    in [1/cap, cap] and else 0.

    w = exp(mismatch) per token (TIS, Yao et al. 2025), its product over the sequence, or its geometric mean.  A token
    whose mismatch is not finite is dropped: weight 0, and no part in its sequence's weight.  A sequence in which any
    token's own ratio is below `veto` is dropped as a whole (verl).
    """
    usable_BT = mask_BT & mismatch_BT.isfinite()
    usable_BT = usable_BT & ~(usable_BT & (mismatch_BT.exp() < veto)).any(-1, keepdim=True)
    weight_BT = _leveled(torch.where(usable_BT, mismatch_BT.detach(), 0.0), usable_BT, level).exp()
    if mode == "truncate":
        return torch.where(usable_BT, weight_BT.clamp(max=cap), 0.0)
    return torch.where(usable_BT & (weight_BT >= 1 / cap) & (weight_BT <= cap), weight_BT, 0.0)


def mismatch_kl(proximal_BT: Tensor, sampling_BT: Tensor, mask_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over tokens of the k1 and k3 estimates of KL(sampling || proximal), in nats.

    Divide by the number of tokens; NaN if a log-probability of a counted token is.
    """
    estimates = kl_k1(sampling_BT, proximal_BT), kl_k3(sampling_BT, proximal_BT)
    first, third = (torch.where(mask_BT, value_BT.detach(), 0.0).sum() for value_BT in estimates)
    return first, third


def _leveled(mismatch_BT: Tensor, usable_BT: Tensor, level: Level) -> Tensor:
    """The log-weight of every token; clamped, for a product over thousands of tokens leaves the range of floats."""
    if level == "sequence":
        mismatch_BT = mismatch_BT.sum(-1, keepdim=True)
    elif level == "geometric":
        mismatch_BT = mismatch_BT.sum(-1, keepdim=True) / usable_BT.sum(-1, keepdim=True).clamp(min=1)
    return mismatch_BT.clamp(-20.0, 20.0)

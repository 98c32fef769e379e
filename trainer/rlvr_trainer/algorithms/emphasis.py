"""Which groups, and which of their correct completions, count for more.

P prompts, G completions per prompt, C claims of a completion.  Emphasis scales advantages; a factor on the rewards of
a group would cancel in the advantage's normalisation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def max_entropy_deviation(accuracy_P: Tensor, *, center: float = 0.5) -> Tensor:
    """D = KL(Bernoulli(p) || Bernoulli(center)) >= 0 in nats, with 0 ln 0 = 0 (VibeThinker, 2511.06221)."""
    wrong_P = 1 - accuracy_P
    return torch.xlogy(accuracy_P, accuracy_P / center) + torch.xlogy(wrong_P, wrong_P / (1 - center))


def max_entropy_weight(correct_PG: Tensor, *, strength: float, center: float = 0.5) -> Tensor:
    """[P, 1] factor exp(-strength D(p)) on a group's advantages: MGPO; strength 0 is GRPO.

    p is the share of correct completions, a fact; not the mean of shaped rewards.
    """
    return weight_of_accuracy(correct_PG.double().mean(-1, keepdim=True), strength=strength, center=center)


def weight_of_accuracy(accuracy_P: Tensor, *, strength: float, center: float = 0.5) -> Tensor:
    """exp(-strength D(p)): 1 at the center, 2^-strength at 0 and 1 if that is 1/2."""
    return torch.exp(-strength * max_entropy_deviation(accuracy_P, center=center))


def long_to_short(rewards_PG: Tensor, correct_PG: Tensor, lengths_PG: Tensor, *, strength: float) -> Tensor:
    """R + strength (s - mean s) / max |s - mean s| with s = 1/L among a group's correct completions.

    VibeThinker-3B (2606.16140).  The shifts of a group sum to zero; equal lengths shift nothing.
    """
    num_P1 = correct_PG.sum(-1, keepdim=True)
    brevity_PG = torch.where(correct_PG, 1 / lengths_PG.to(rewards_PG), 0.0)
    offset_PG = torch.where(correct_PG, brevity_PG - brevity_PG.sum(-1, keepdim=True) / num_P1, 0.0)
    largest_P1 = offset_PG.abs().amax(-1, keepdim=True)
    equal_P1 = _equal_where(brevity_PG, correct_PG)
    return rewards_PG + torch.where(equal_P1, 0.0, strength * offset_PG / largest_P1)


def claim_reliability(verdicts_C: Tensor, *, exponent: int) -> Tensor:
    """(mean verdict)^M: how far a completion's claims hold up (VibeThinker-3B's CLR)."""
    return verdicts_C.double().mean(-1) ** exponent


def _equal_where(values_PG: Tensor, mask_PG: Tensor) -> Tensor:
    """Whether each row's masked values are all the same; true for an empty selection."""
    highest_P1 = values_PG.masked_fill(~mask_PG, -math.inf).amax(-1, keepdim=True)
    lowest_P1 = values_PG.masked_fill(~mask_PG, math.inf).amin(-1, keepdim=True)
    return highest_P1 <= lowest_P1

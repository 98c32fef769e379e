"""The one loss in which every published trust region, token selection, KL term and reduction is a setting.

M sequences of a micro-batch, T tokens.  `_MT` values count where `mask_MT` is true.  The loss of an optimizer update is
the sum of its micro-batches' losses, on all ranks, for they share the update's totals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from rlvr_trainer.algorithms import losses
from rlvr_trainer.algorithms.entropy import by_class

Reduction = Literal["tokenMean", "sequenceTokenMean", "sequenceTokenSum", "constant"]
Estimator = Literal["k1", "k2", "k3"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tokens:
    """What is known about the completion tokens of a micro-batch."""

    logprob_MT: Tensor
    """ln pi of the policy being trained; carries the gradient."""
    entropy_MT: Tensor
    """Nats, of the same pass; needs a gradient only if there is an entropy bonus."""
    proximal_MT: Tensor
    """ln pi of the policy that started the step."""
    reference_MT: Tensor | None
    """ln pi of the frozen reference; needed only if there is a KL term."""
    advantage_M1: Tensor
    weight_MT: Tensor
    """Importance weights for the mismatch between rollout and learner; ones without that correction."""
    mask_MT: Tensor
    """Completion tokens."""
    selected_MT: Tensor
    """Those of them that receive a policy gradient."""
    uncertain_MT: Tensor
    """Those of them in the class of high entropy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Counts over all micro-batches and ranks of one optimizer update."""

    num_sequences: int
    num_tokens: int
    num_selected: int
    """Tokens that receive a policy gradient."""
    num_uncertain: int
    """Tokens in the class of high entropy; read only where the KL of each class has its own mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """One number for tokens of high entropy and one for the others."""

    high: float
    low: float

    def over(self, uncertain_MT: Tensor, *, dtype: torch.dtype) -> losses.Number:
        return self.low if self.high == self.low else by_class(uncertain_MT, high=self.high, low=self.low, dtype=dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """Settings of the loss."""

    clip_low: Classes
    clip_high: Classes
    dual_clip: float | None
    weight_cap: float | None
    """Set: ASPO's asymmetric weights, at most this, instead of the clipped ratio."""
    sequence_ratio: bool
    """One ratio per sequence (GSPO) instead of one per token."""
    kl: Classes
    """Coefficient of the KL to the reference."""
    estimator: Estimator
    kl_by_class: bool
    """Whether the KL of each class has a mean of its own (Archer's released code) instead of one over all tokens."""
    reclassify: Callable[[Tensor, Tensor], Tensor] | None
    """(entropy_MT, mask_MT) -> tokens of high entropy under the policy being trained (Archer's released code);
    absent where the policy that started the step decides."""
    entropy_bonus: float
    reduction: Reduction
    budget: int
    """Completion tokens that the `constant` reduction divides by."""
    counts_selected: bool
    """Whether the policy term's token mean divides by the selected tokens (80/20) or by all of them (TRL)."""

    @property
    def needs_reference(self) -> bool:
        return self.kl.high != 0 or self.kl.low != 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenFacts:
    """What became of each token, without gradient; pads and unselected tokens may hold anything."""

    clipped_low_MT: Tensor
    """Stopped at the lower bound of the ratio."""
    clipped_high_MT: Tensor
    """Stopped at the upper bound."""
    dual_clipped_MT: Tensor
    uncertain_MT: Tensor
    """In the class of high entropy, as the loss saw it."""
    k3_MT: Tensor | None
    """Estimate of KL(policy || reference) in nats; absent without a KL term."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loss:
    """A micro-batch's share of the update's loss, and sums over its tokens."""

    total: Tensor
    """To be minimised; the only one with a gradient."""
    policy: Tensor
    """The part without KL and entropy bonus."""
    num_clipped: Tensor
    num_dual_clipped: Tensor
    kl_nats: Tensor | None
    """Sum of the k3 estimates of KL(policy || reference); absent without a KL term."""
    facts: TokenFacts


def loss(tokens: Tokens, totals: Totals, *, objective: Objective) -> Loss:
    """Reduce(w * surrogate) + reduce(beta * kl) - bonus * reduce(entropy) for one micro-batch."""
    tokens = _without_pads(tokens)
    if objective.reclassify is not None:
        tokens = replace(tokens, uncertain_MT=objective.reclassify(tokens.entropy_MT.detach(), tokens.mask_MT))
    surrogate_MT, facts = _surrogate(tokens, objective)
    num_policy_tokens = totals.num_selected if objective.counts_selected else totals.num_tokens
    policy = _reduce(tokens.weight_MT * surrogate_MT, tokens.selected_MT, num_policy_tokens, totals, objective)
    total, kl_nats = policy, None
    if objective.needs_reference:
        kl, k3_MT = _kl(tokens, totals, objective)
        total, kl_nats, facts = total + kl, torch.where(tokens.mask_MT, k3_MT, 0.0).sum(), replace(facts, k3_MT=k3_MT)
    if objective.entropy_bonus != 0:
        entropy = _reduce(tokens.entropy_MT, tokens.mask_MT, totals.num_tokens, totals, objective)
        total = total - objective.entropy_bonus * entropy
    return Loss(
        total=total,
        policy=policy.detach(),
        num_clipped=((facts.clipped_low_MT | facts.clipped_high_MT) & tokens.selected_MT).sum(),
        num_dual_clipped=(facts.dual_clipped_MT & tokens.selected_MT).sum(),
        kl_nats=kl_nats,
        facts=facts,
    )


def _without_pads(tokens: Tokens) -> Tokens:
    """Zeros at pads: whatever was there, no gradient of it becomes NaN."""

    def counted(values_MT: Tensor) -> Tensor:
        return torch.where(tokens.mask_MT, values_MT, 0.0)

    return replace(
        tokens,
        logprob_MT=counted(tokens.logprob_MT),
        entropy_MT=counted(tokens.entropy_MT),
        proximal_MT=counted(tokens.proximal_MT),
        reference_MT=None if tokens.reference_MT is None else counted(tokens.reference_MT),
        weight_MT=counted(tokens.weight_MT),
    )


def _surrogate(tokens: Tokens, objective: Objective) -> tuple[Tensor, TokenFacts]:
    """Token losses, and which tokens the clip and the dual clip stopped."""
    log_ratio_MT, advantage_M1 = _log_ratio(tokens, objective), tokens.advantage_M1
    eps_low, eps_high = (
        clip.over(tokens.uncertain_MT, dtype=log_ratio_MT.dtype) for clip in (objective.clip_low, objective.clip_high)
    )
    ratio_MT, dual_clip = log_ratio_MT.exp(), objective.dual_clip
    clipped_MT = losses.is_clipped(ratio_MT, advantage_M1, eps_low=eps_low, eps_high=eps_high)
    facts = TokenFacts(
        clipped_low_MT=clipped_MT & (advantage_M1 < 0),
        clipped_high_MT=clipped_MT & (advantage_M1 > 0),
        dual_clipped_MT=torch.zeros_like(clipped_MT),
        uncertain_MT=tokens.uncertain_MT,
        k3_MT=None,
    )
    if objective.weight_cap is not None:
        weighted_MT = losses.asymmetric_loss(
            log_ratio_MT, advantage_M1, eps_low=eps_low, eps_high=eps_high, cap=objective.weight_cap
        )
        return weighted_MT, facts
    loss_MT = losses.clipped_loss(ratio_MT, advantage_M1, eps_low=eps_low, eps_high=eps_high, dual_clip=dual_clip)
    if dual_clip is None:
        return loss_MT, facts
    dual_clipped_MT = losses.is_dual_clipped(ratio_MT, advantage_M1, dual_clip=dual_clip)
    return loss_MT, replace(facts, dual_clipped_MT=dual_clipped_MT)


def _log_ratio(tokens: Tokens, objective: Objective) -> Tensor:
    """Of each token, or of its sequence."""
    if objective.sequence_ratio:
        difference_MT = tokens.logprob_MT - tokens.proximal_MT
        return losses.sequence_log_ratio(difference_MT, tokens.mask_MT).expand_as(difference_MT)
    return losses.log_ratio(tokens.logprob_MT, tokens.proximal_MT)


def _kl(tokens: Tokens, totals: Totals, objective: Objective) -> tuple[Tensor, Tensor]:
    """The weighted KL term, and every token's unweighted k3 estimate."""
    assert tokens.reference_MT is not None, "the objective has a KL term but the tokens no reference log-probabilities"
    estimate = {"k1": losses.kl_k1, "k2": losses.kl_k2, "k3": losses.kl_k3}[objective.estimator]
    kl_MT, beta = estimate(tokens.logprob_MT, tokens.reference_MT), objective.kl
    k3_MT = losses.kl_k3(tokens.logprob_MT.detach(), tokens.reference_MT)
    if not objective.kl_by_class:
        weighted_MT = beta.over(tokens.uncertain_MT, dtype=kl_MT.dtype) * kl_MT
        return _reduce(weighted_MT, tokens.mask_MT, totals.num_tokens, totals, objective), k3_MT
    high_MT, low_MT = tokens.mask_MT & tokens.uncertain_MT, tokens.mask_MT & ~tokens.uncertain_MT
    num_high, num_low = totals.num_uncertain, totals.num_tokens - totals.num_uncertain
    high = _reduce(kl_MT, high_MT, num_high, totals, objective)
    low = _reduce(kl_MT, low_MT, num_low, totals, objective)
    return beta.high * high + beta.low * low, k3_MT


def _reduce(values_MT: Tensor, where_MT: Tensor, num_tokens: int, totals: Totals, objective: Objective) -> Tensor:
    num_sequences = totals.num_sequences
    match objective.reduction:
        case "tokenMean":
            return losses.token_mean(values_MT, where_MT, num_tokens=num_tokens)
        case "sequenceTokenMean":
            return losses.sequence_mean_of_token_means(values_MT, where_MT, num_sequences=num_sequences)
        case "sequenceTokenSum":
            return losses.sequence_mean_of_token_sums(values_MT, where_MT, num_sequences=num_sequences)
        case "constant":
            return losses.constant(values_MT, where_MT, num_sequences=num_sequences, budget=objective.budget)

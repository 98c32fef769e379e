"""From the numbers of a manifest to the functions of a training step.

P prompts, G completions per prompt, B sequences, T tokens.  The only module here that knows the API.  It decides what
to compute, never when: the learner calls rewards, advantages, choose, importance_weights and loss in that order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from rlvr_api import lengths as api
from rlvr_api.algorithm import Archer, EmphasisSpec, TopEntropy
from rlvr_api.base import api_name
from rlvr_api.resolved import Advantage, Overlong, Resolved
from rlvr_trainer.algorithms import advantages, correction, emphasis, entropy, lengths
from rlvr_trainer.algorithms import objective as objectives
from rlvr_trainer.algorithms.objective import Classes, Loss, Objective, Tokens, Totals
from rlvr_trainer.algorithms.rewards import Answers, outcome_rewards
from rlvr_trainer.errors import InvalidInput

Scope = Literal["batch", "sequence", "microbatch"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choice:
    """Which completion tokens are treated how."""

    selected_BT: Tensor
    """Tokens that receive a policy gradient."""
    uncertain_BT: Tensor
    """Tokens in the class of high entropy (Archer); none without classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """An algorithm as the learner uses it."""

    rewards: Callable[[Answers, int], Tensor]
    """(answers, step) -> [P, G] rewards, shaped; `step` is 1 for the first."""
    advantages: Callable[[Tensor, Tensor], Tensor]
    """(rewards_PG, correct_PG) -> [P, G], scaled by the group's emphasis."""
    choose: Callable[[Tensor, Tensor], Choice]
    """(entropy_BT, mask_BT) -> tokens to train on, from entropies of the policy that starts the step."""
    choice_scope: Scope
    """Rows that `choose` must see together: the step's batch, single sequences (any cut will do), or a micro-batch."""
    needs_entropy: bool
    """Whether `choose` reads its entropies at all."""
    importance_weights: Callable[[Tensor, Tensor], Tensor] | None
    """(proximal - sampling, mask_BT) -> [B, T] factors; absent without a correction."""
    objective: Objective

    @property
    def needs_reference(self) -> bool:
        """Whether the loss compares with the base model."""
        return self.objective.needs_reference

    @property
    def has_entropy_bonus(self) -> bool:
        """Whether the loss needs the gradient of the entropies."""
        return self.objective.entropy_bonus != 0

    def loss(self, tokens: Tokens, totals: Totals) -> Loss:
        return objectives.loss(tokens, totals, objective=self.objective)


def build(resolved: Resolved, *, max_tokens: int) -> Recipe:
    """The recipe of a resolved algorithm; `max_tokens` is the limit of a completion.

    Raises InvalidInput for a length reward whose targets need completions that nobody samples yet.
    """
    selection = resolved.token_selection.top_entropy if resolved.token_selection else None
    archer = resolved.trust_region.archer
    return Recipe(
        rewards=partial(_rewards, resolved=_with_known_targets(resolved), max_tokens=max_tokens),
        advantages=partial(_advantages, spec=resolved.advantage, emphasized=resolved.emphasis),
        choose=partial(_choose, selection=selection, archer=archer),
        choice_scope=selection.scope if selection else "sequence",
        needs_entropy=selection is not None or archer is not None,
        importance_weights=_importance_weights(resolved),
        objective=_objective(resolved, selection=selection, max_tokens=max_tokens),
    )


def _with_known_targets(resolved: Resolved) -> Resolved:
    spec = resolved.length_reward
    if spec is not None and isinstance(spec.variant, api.LaserD | api.O1Pruner):
        name = next(api_name(field) for field, value in spec if value is not None)
        raise InvalidInput(
            f"algorithm.lengthReward.{name} needs completions sampled apart from training (of monitor prompts or of a "
            "reference model), which is not available yet; use algorithm.lengthReward.laser with a fixed targetTokens"
        )
    return resolved


def _rewards(answers: Answers, step: int, *, resolved: Resolved, max_tokens: int) -> Tensor:
    """Worth of the outcome, then the length reward, then the punishment of overlong completions."""
    worth = resolved.outcome_reward
    reward_PG = outcome_rewards(
        answers, correct=worth.correct, wrong=worth.wrong, malformed=worth.malformed, truncated=worth.truncated
    )
    if resolved.length_reward is not None:
        reward_PG = _length_reward(reward_PG, answers, variant=resolved.length_reward.variant, step=step)
    return reward_PG + _overlong(answers.lengths_PG, spec=resolved.overlong, max_tokens=max_tokens)


def _length_reward(base_PG: Tensor, answers: Answers, *, variant: api.LengthReward, step: int) -> Tensor:
    correct_PG, lengths_PG = answers.correct_PG, answers.lengths_PG
    match variant:
        case api.Truncation(target_tokens=target, beyond=beyond):
            shaped_PG = lengths.truncation(base_PG, lengths_PG, target=target, beyond=beyond)
        case api.ThinkPrune(target_tokens=targets, stage_steps=stage_steps):
            target = targets[min((step - 1) // stage_steps, len(targets) - 1)]
            shaped_PG = lengths.truncation(base_PG, lengths_PG, target=target)
        case api.Efficient(alpha=alpha):
            shaped_PG = lengths.efficient(base_PG, correct_PG, lengths_PG, alpha=alpha)
        case api.Kimi(coefficient=coefficient):
            shaped_PG = lengths.kimi(base_PG, correct_PG, lengths_PG, coefficient=coefficient)
        case api.L1Exact(target_tokens=target, alpha=alpha):
            shaped_PG = lengths.l1_exact(base_PG, lengths_PG, target=target, alpha=alpha)
        case api.L1Max(target_tokens=target, alpha=alpha, delta=delta):
            shaped_PG = lengths.l1_max(correct_PG, lengths_PG, target=target, alpha=alpha, delta=delta)
        case api.LongToShort(strength=strength):
            shaped_PG = emphasis.long_to_short(base_PG, correct_PG, lengths_PG, strength=strength)
        case api.Laser(target_tokens=target, alpha=alpha):
            shaped_PG = lengths.laser(base_PG, correct_PG, lengths_PG, target=target, alpha=alpha)
        case api.LaserD() | api.O1Pruner():
            raise AssertionError(f"{type(variant).__name__} was let through without its targets")
    return shaped_PG


def _overlong(lengths_PG: Tensor, *, spec: Overlong, max_tokens: int) -> Tensor | float:
    if not spec.enabled:
        return 0.0
    cache = max(1, round(spec.cache_fraction * max_tokens))
    return spec.penalty * lengths.soft_overlong(lengths_PG, max_tokens=max_tokens, cache=cache)


def _advantages(rewards_PG: Tensor, correct_PG: Tensor, *, spec: Advantage, emphasized: EmphasisSpec | None) -> Tensor:
    match spec.kind:
        case "groupNormalized":
            advantage_PG = advantages.group_normalized(rewards_PG, ddof=spec.ddof, epsilon=spec.epsilon)
        case "centered":
            advantage_PG = advantages.centered(rewards_PG)
        case "leaveOneOut":
            advantage_PG = advantages.leave_one_out(rewards_PG)
    if emphasized is None or emphasized.mgpo is None:
        return advantage_PG
    mgpo = emphasized.mgpo
    weight_P1 = emphasis.max_entropy_weight(correct_PG, strength=mgpo.strength, center=mgpo.center)
    return advantage_PG * weight_P1.to(advantage_PG)


def _choose(entropy_BT: Tensor, mask_BT: Tensor, *, selection: TopEntropy | None, archer: Archer | None) -> Choice:
    selected_BT, uncertain_BT = mask_BT, torch.zeros_like(mask_BT)
    if selection is not None:
        selected_BT = _select(entropy_BT, mask_BT, selection=selection)
    if archer is not None:
        uncertain_BT = entropy.above_quantile(
            entropy_BT, mask_BT, quantile=archer.quantile, ties_are_high=archer.ties == "high"
        )
    return Choice(selected_BT=selected_BT, uncertain_BT=uncertain_BT)


def _select(entropy_BT: Tensor, mask_BT: Tensor, *, selection: TopEntropy) -> Tensor:
    share, per_sequence = selection.fraction, selection.scope == "sequence"
    if selection.method == "exact":
        select = entropy.top_share_of_sequence if per_sequence else entropy.top_share
        return select(entropy_BT, mask_BT, share=share)
    threshold = entropy.sequence_quantile if per_sequence else entropy.batch_quantile
    return (entropy_BT >= threshold(entropy_BT, mask_BT, quantile=1 - share)) & mask_BT


def _importance_weights(resolved: Resolved) -> Callable[[Tensor, Tensor], Tensor] | None:
    spec = resolved.importance_sampling
    if spec.mode == "off":
        return None
    return partial(correction.importance_weights, cap=spec.cap, level=spec.level, mode=spec.mode)


def _objective(resolved: Resolved, *, selection: TopEntropy | None, max_tokens: int) -> Objective:
    region, kl = resolved.trust_region, resolved.kl.coefficient
    clip_low, clip_high = _alike(region.clip_low), _alike(region.clip_high)
    beta = _alike(kl)
    if (archer := region.archer) is not None:
        clip_low = clip_high = Classes(high=archer.clip_high_entropy, low=archer.clip_low_entropy)
        beta = Classes(high=kl + archer.kl_high_entropy, low=kl + archer.kl_low_entropy)
    return Objective(
        clip_low=clip_low,
        clip_high=clip_high,
        dual_clip=region.dual_clip or None,
        weight_cap=region.aspo.cap if region.aspo else None,
        sequence_ratio=region.ratio == "sequence",
        kl=beta,
        estimator=resolved.kl.estimator,
        entropy_bonus=resolved.entropy_bonus.coefficient,
        reduction=resolved.reduction,
        budget=max_tokens,
        counts_selected=selection is not None and selection.denominator == "selected",
    )


def _alike(value: float) -> Classes:
    return Classes(high=value, low=value)

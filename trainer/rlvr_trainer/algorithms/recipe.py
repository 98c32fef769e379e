"""From the numbers of a manifest to the functions of a training step.

P prompts, G completions per prompt, B sequences, T tokens.  Only this module and `shaping` know the API.  They decide
what to compute, never when: the learner calls rewards, advantages, choose, importance_weights and loss in that order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import torch
from torch import Tensor

from rlvr_api.algorithm import Archer, EmphasisSpec, TopEntropy
from rlvr_api.resolved import Advantage, Resolved
from rlvr_trainer.algorithms import advantages, correction, emphasis, entropy
from rlvr_trainer.algorithms import objective as objectives
from rlvr_trainer.algorithms.objective import Classes, Loss, Objective, Tokens, Totals
from rlvr_trainer.algorithms.ranking import WHOLE, Share
from rlvr_trainer.algorithms.rewards import Answers
from rlvr_trainer.algorithms.shaping import NO_TARGETS, shaped_rewards

Scope = Literal["batch", "sequence", "microbatch"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choice:
    """Which completion tokens are treated how."""

    selected_BT: Tensor
    """Tokens that receive a policy gradient."""
    uncertain_BT: Tensor
    """Tokens in the class of high entropy (Archer); none without classes."""


class Rewards(Protocol):
    """Answers of a step -> [P, G] rewards, shaped."""

    def __call__(self, answers: Answers, step: int, targets: Mapping[str, int] = NO_TARGETS) -> Tensor:
        """`step` is 1 for the first; `targets` are tokens by difficulty, where the length reward follows a monitor."""


class Choose(Protocol):
    """Entropies of the policy that starts the step -> tokens to train on."""

    def __call__(self, entropy_BT: Tensor, mask_BT: Tensor, *, of: Share = WHOLE) -> Choice:
        """The rows given are `of` the step's batch; where the choice is made over the batch, all ranks take part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """An algorithm as the learner uses it."""

    rewards: Rewards
    advantages: Callable[[Tensor, Tensor], Tensor]
    """(rewards_PG, correct_PG) -> [P, G], scaled by the group's emphasis."""
    emphasis: Callable[[Tensor], Tensor] | None
    """(correct_PG) -> [P, 1] weight of each group's advantages (MGPO), for the record; absent without one."""
    choose: Choose
    choice_scope: Scope
    """Rows that `choose` must see together: the step's batch, single sequences (any cut will do), or a micro-batch."""
    selects: bool
    """Whether only some tokens receive a policy gradient (80/20)."""
    has_classes: bool
    """Whether tokens of high entropy are treated differently from the others (Archer)."""
    importance_weights: Callable[[Tensor, Tensor], Tensor] | None
    """(proximal - sampling, mask_BT) -> [B, T] factors; absent without a correction."""
    objective: Objective

    @property
    def needs_entropy(self) -> bool:
        """Whether `choose` reads its entropies at all."""
        return self.selects or self.has_classes

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
    """The recipe of a resolved algorithm; `max_tokens` is the limit of a completion."""
    selection = resolved.token_selection.top_entropy if resolved.token_selection else None
    archer = resolved.trust_region.archer
    return Recipe(
        rewards=partial(shaped_rewards, resolved=resolved, max_tokens=max_tokens),
        advantages=partial(_advantages, spec=resolved.advantage, weight=_emphasis(resolved.emphasis)),
        emphasis=_emphasis(resolved.emphasis),
        choose=partial(_choose, selection=selection, archer=archer),
        choice_scope=selection.scope if selection else "sequence",
        selects=selection is not None,
        has_classes=archer is not None,
        importance_weights=_importance_weights(resolved),
        objective=_objective(resolved, selection=selection, max_tokens=max_tokens),
    )


def _emphasis(spec: EmphasisSpec | None) -> Callable[[Tensor], Tensor] | None:
    if spec is None or spec.mgpo is None:
        return None
    return partial(emphasis.max_entropy_weight, strength=spec.mgpo.strength, center=spec.mgpo.center)


def _advantages(
    rewards_PG: Tensor, correct_PG: Tensor, *, spec: Advantage, weight: Callable[[Tensor], Tensor] | None
) -> Tensor:
    match spec.kind:
        case "groupNormalized":
            advantage_PG = advantages.group_normalized(rewards_PG, ddof=spec.ddof, epsilon=spec.epsilon)
        case "centered":
            advantage_PG = advantages.centered(rewards_PG)
        case "leaveOneOut":
            advantage_PG = advantages.leave_one_out(rewards_PG)
    return advantage_PG if weight is None else advantage_PG * weight(correct_PG).to(advantage_PG)


def _choose(
    entropy_BT: Tensor,
    mask_BT: Tensor,
    *,
    of: Share = WHOLE,
    selection: TopEntropy | None,
    archer: Archer | None,
) -> Choice:
    selected_BT, uncertain_BT = mask_BT, torch.zeros_like(mask_BT)
    if selection is not None:
        selected_BT = _select(entropy_BT, mask_BT, selection=selection, of=of)
    if archer is not None:
        uncertain_BT = _classify(entropy_BT, mask_BT, archer=archer)
    return Choice(selected_BT=selected_BT, uncertain_BT=uncertain_BT)


def _classify(entropy_BT: Tensor, mask_BT: Tensor, *, archer: Archer) -> Tensor:
    ties_are_high = archer.ties == "high"
    return entropy.above_quantile(entropy_BT, mask_BT, quantile=archer.quantile, ties_are_high=ties_are_high)


def _select(entropy_BT: Tensor, mask_BT: Tensor, *, selection: TopEntropy, of: Share) -> Tensor:
    share, seen = selection.fraction, of if selection.scope == "batch" else WHOLE
    match selection.method, selection.scope:
        case "exact", "sequence":
            return entropy.top_share_of_sequence(entropy_BT, mask_BT, share=share)
        case "exact", _:
            return entropy.top_share(entropy_BT, mask_BT, share=share, of=seen)
        case _, "sequence":
            threshold = entropy.sequence_quantile(entropy_BT, mask_BT, quantile=1 - share)
        case _:
            threshold = entropy.batch_quantile(entropy_BT, mask_BT, quantile=1 - share, of=seen)
    return (entropy_BT >= threshold) & mask_BT


def _importance_weights(resolved: Resolved) -> Callable[[Tensor, Tensor], Tensor] | None:
    spec = resolved.importance_sampling
    if spec.mode == "off":
        return None
    return partial(correction.importance_weights, cap=spec.cap, level=spec.level, mode=spec.mode, veto=spec.veto)


def _objective(resolved: Resolved, *, selection: TopEntropy | None, max_tokens: int) -> Objective:
    region, kl = resolved.trust_region, resolved.kl.coefficient
    clip_low, clip_high = _alike(region.clip_low), _alike(region.clip_high)
    beta, kl_by_class, reclassify = _alike(kl), False, None
    if (archer := region.archer) is not None:
        clip_low = clip_high = Classes(high=archer.clip_high_entropy, low=archer.clip_low_entropy)
        beta = Classes(high=kl + archer.kl_high_entropy, low=kl + archer.kl_low_entropy)
        kl_by_class = archer.kl_normalization == "classes"
        reclassify = partial(_classify, archer=archer) if archer.entropy_source == "update" else None
    return Objective(
        clip_low=clip_low,
        clip_high=clip_high,
        dual_clip=region.dual_clip or None,
        weight_cap=region.aspo.cap if region.aspo else None,
        sequence_ratio=region.ratio == "sequence",
        kl=beta,
        estimator=resolved.kl.estimator,
        kl_by_class=kl_by_class,
        reclassify=reclassify,
        entropy_bonus=resolved.entropy_bonus.coefficient,
        reduction=resolved.reduction,
        budget=max_tokens,
        counts_selected=selection is not None and selection.denominator == "selected",
    )


def _alike(value: float) -> Classes:
    return Classes(high=value, low=value)

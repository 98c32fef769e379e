"""What several golden cases need: token losses through the one objective, and what they are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlvr_trainer.algorithms import objective as objectives
from rlvr_trainer.algorithms.losses import clipped_loss
from rlvr_trainer.algorithms.objective import Classes, Objective, Tokens, Totals

from .cases import Case

PLAIN: dict[str, Any] = {
    "dual_clip": None,
    "weight_cap": None,
    "sequence_ratio": False,
    "kl": Classes(high=0.0, low=0.0),
    "estimator": "k3",
    "kl_by_class": False,
    "reclassify": None,
    "entropy_bonus": 0.0,
    "reduction": "tokenMean",
    "budget": 1,
    "counts_selected": True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The tokens of a case under an objective."""

    tokens: Tokens
    objective: Objective

    def loss(self) -> objectives.Loss:
        tokens = self.tokens
        totals = Totals(
            num_sequences=len(tokens.mask_MT),
            num_tokens=int(tokens.mask_MT.sum()),
            num_selected=int(tokens.selected_MT.sum()),
            num_uncertain=int(tokens.uncertain_MT.sum()),
        )
        return objectives.loss(tokens, totals, objective=self.objective)

    def loss_and_gradient(self) -> dict[str, Tensor]:
        total = self.loss().total
        (grad,) = torch.autograd.grad(total, self.tokens.logprob_MT, allow_unused=True, materialize_grads=True)
        return {"loss": total, "grad": grad}


def scene_of(
    case: Case,
    *,
    clip_low: Classes | float,
    clip_high: Classes | float,
    advantage: Tensor | None = None,
    selected: Tensor | None = None,
    uncertain: Tensor | None = None,
    **settings: Any,
) -> Scene:
    """The case's tokens; what it does not say is neutral."""
    log_ratio, mask = log_ratio_of(case), case.given_mask()
    proximal = torch.full_like(log_ratio, case.inputs.get("old_logp", -1.0))
    logprob = (log_ratio + proximal).requires_grad_()
    tokens = Tokens(
        logprob_MT=logprob,
        entropy_MT=torch.zeros_like(log_ratio),
        proximal_MT=proximal,
        reference_MT=(logprob + case.given("ref_minus_logp")).detach() if "ref_minus_logp" in case.inputs else None,
        advantage_M1=(case.given("adv") if advantage is None else advantage).reshape(-1, 1),
        weight_MT=torch.ones_like(log_ratio),
        mask_MT=mask,
        selected_MT=mask if selected is None else selected,
        uncertain_MT=torch.zeros_like(mask) if uncertain is None else uncertain,
    )
    bounds = {"clip_low": _classes(clip_low), "clip_high": _classes(clip_high)}
    return Scene(tokens=tokens, objective=Objective(**{**PLAIN, **bounds, **settings}))


def log_ratio_of(case: Case) -> Tensor:
    return case.given("log_ratio") if "log_ratio" in case.inputs else case.given("ratio").log()


def token_loss(case: Case, *, eps_low: Any, eps_high: Any, dual_clip: float | None = None) -> tuple[Tensor, Tensor]:
    """Each token's loss and its gradient with respect to the log-probability, from the very ratios of the case."""
    ratio = case.given("ratio").requires_grad_()
    advantage = case.given("adv")
    advantage = advantage.reshape(-1, 1) if ratio.dim() == 2 and advantage.dim() == 1 else advantage
    loss = clipped_loss(ratio, advantage, eps_low=eps_low, eps_high=eps_high, dual_clip=dual_clip)
    (grad,) = torch.autograd.grad(loss.sum(), ratio)
    return loss, grad * ratio.detach()


def at_tokens(values: Tensor, case: Case, name: str) -> Tensor:
    """`values` at the tokens that count; what stands at pads is nobody's business, so there it is as expected."""
    mask = case.given_mask()
    if name not in case.expected:
        return values
    return torch.where(mask, values, case.wanted(name).to(values))


def _classes(value: Classes | float) -> Classes:
    return value if isinstance(value, Classes) else Classes(high=value, low=value)

"""The cases of Archer and of the 80/20 rule, computed by the public functions."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from rlvr_trainer.algorithms.entropy import (
    above_quantile,
    batch_quantile,
    kept_tokens,
    overlap,
    sequence_quantile,
    top_share,
)
from rlvr_trainer.algorithms.losses import (
    asymmetric_loss,
    kl_k3,
    sequence_mean_of_token_means,
    token_mean,
)
from rlvr_trainer.algorithms.objective import Classes
from rlvr_trainer.engines.local.sampler import Forks, entropies, temperatures_by_entropy

from .cases import Case
from .scenes import at_tokens, log_ratio_of, scene_of, token_loss

Results = dict[str, Any]


def archer(case: Case) -> Results:
    """As printed one token mean; as released three means, of each sequence or of the whole."""
    mask, inputs = case.given_mask(), case.inputs
    released, per_sequence = "_code_" in case.id, "_microbatch1_" in case.id
    high = above_quantile(case.given("entropy"), mask, quantile=inputs["rho"], ties_are_high=not released)
    clip = Classes(high=inputs["eps_high_entropy"], low=inputs["eps_low_entropy"])
    scene = scene_of(
        case,
        clip_low=clip,
        clip_high=clip,
        uncertain=high,
        kl=Classes(high=inputs["beta_high_entropy"], low=inputs["beta_low_entropy"]),
        kl_by_class=released,
        reduction="sequenceTokenMean" if per_sequence else "tokenMean",
    )
    eps = clip.over(high, dtype=case.dtype)
    token, _ = token_loss(case, eps_low=eps, eps_high=eps)
    k3 = kl_k3(torch.zeros_like(token), case.given("ref_minus_logp"))
    return {
        "tau": sequence_quantile(case.given("entropy"), mask, quantile=inputs["rho"]),
        "high_mask": high,
        "token_pg_loss": at_tokens(token, case, "token_pg_loss"),
        "token_k3": at_tokens(k3, case, "token_k3"),
        "pg": scene.loss().policy,
        "kl_low_mean": _mean(k3, mask & ~high, per_sequence=per_sequence),
        "kl_high_mean": _mean(k3, high, per_sequence=per_sequence),
        **scene.loss_and_gradient(),
    }


def archer_single_token(case: Case) -> Results:
    entropy, mask = _entropy_and_mask(case)
    return {
        "tau": sequence_quantile(entropy, mask, quantile=case.inputs["rho"]),
        "high_paper": above_quantile(entropy, mask, quantile=case.inputs["rho"], ties_are_high=True),
        "high_code": above_quantile(entropy, mask, quantile=case.inputs["rho"]),
    }


def archer_dual_clip10(case: Case) -> Results:
    eps = case.given("eps")
    loss, grad = token_loss(case, eps_low=eps, eps_high=eps, dual_clip=case.inputs["c"])
    return {"loss": loss, "grad": grad}


def archer_tau_zero_ties(case: Case) -> Results:
    entropy, mask = _entropy_and_mask(case)
    return {
        "tau": sequence_quantile(entropy, mask, quantile=case.inputs["rho"]),
        "high_ge": above_quantile(entropy, mask, quantile=case.inputs["rho"], ties_are_high=True).sum(),
        "high_gt": above_quantile(entropy, mask, quantile=case.inputs["rho"]).sum(),
    }


def archer_response_vs_batch_threshold(case: Case) -> Results:
    rows = [case.given("calm"), case.given("hot")]
    entropy = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=math.inf)
    mask, rho = entropy.isfinite(), case.inputs["rho"]
    tau = batch_quantile(entropy, mask, quantile=rho)
    high = ((entropy > tau) & mask).sum(-1)
    return {
        "batch_tau": tau,
        "batch_high_calm": high[0],
        "batch_high_hot": high[1],
        "resp_tau": sequence_quantile(entropy, mask, quantile=rho),
        "resp_high": above_quantile(entropy, mask, quantile=rho).sum(-1),
    }


def aspo_positive_gradient(case: Case) -> Results:
    logprob, eps = log_ratio_of(case).requires_grad_(), case.inputs["eps"]
    loss = asymmetric_loss(logprob, case.given("adv"), eps_low=eps, eps_high=eps, cap=case.inputs["cap"])
    (grad,) = torch.autograd.grad(loss.sum(), logprob)
    return {"dloss_dlogp": grad, "note": case.expected.get("note")}


def rule8020_topk_count(case: Case) -> Results:
    return {"k": [kept_tokens(num_tokens, share=case.inputs["rho"]) for num_tokens in case.inputs["n"]]}


def rule8020_loss(case: Case) -> Results:
    mask, entropy, rho = case.given_mask(), case.given("entropy"), case.inputs["rho"]
    clip = {"clip_low": case.inputs["clip_low"], "clip_high": case.inputs["clip_high"]}
    selected, quantile = top_share(entropy, mask, share=rho), batch_quantile(entropy, mask, quantile=1 - rho)
    above = (entropy >= quantile) & mask
    token, _ = token_loss(case, eps_low=clip["clip_low"], eps_high=clip["clip_high"])
    return {
        "k": selected.sum(),
        "threshold": entropy.masked_fill(~selected, math.inf).amin(),
        "selected": selected,
        "token_loss": at_tokens(token, case, "token_loss"),
        **scene_of(case, **clip, selected=selected).loss_and_gradient(),
        "trl_threshold": quantile,
        "trl_selected": above,
        "trl_dapo_loss": scene_of(case, **clip, selected=above, counts_selected=False).loss().total,
        "vanilla_dapo_loss": scene_of(case, **clip).loss().total,
    }


def rule8020_ties(case: Case) -> Results:
    entropy, mask = _entropy_and_mask(case)
    selected, quantile = top_share(entropy, mask, share=case.inputs["rho"]), _trl_quantile(entropy, mask, case)
    return {
        "topk_kept": selected.sum(),
        "ge_kept": ((entropy >= entropy.masked_fill(~selected, math.inf).amin()) & mask).sum(),
        "trl_quantile": quantile,
        "trl_kept": ((entropy >= quantile) & mask).sum(),
    }


def rule8020_all_masked(case: Case) -> Results:
    mask, entropy = case.given_mask(), case.given("entropy")
    selected = top_share(entropy, mask, share=case.inputs.get("rho", 0.2))
    return {"selected": selected, "loss": token_mean(entropy, selected, num_tokens=int(selected.sum()))}


def rule8020_bottom80(case: Case) -> Results:
    mask = case.given_mask()
    rest = mask & ~top_share(case.given("entropy"), mask, share=case.inputs["rho"])
    scene = scene_of(case, clip_low=case.inputs["clip_low"], clip_high=case.inputs["clip_high"], selected=rest)
    return {"selected": rest, **scene.loss_and_gradient()}


def rule8020_decode_temperature(case: Case) -> Results:
    logits, inputs = case.given("logits"), case.inputs
    forks = Forks(
        thresholds=torch.full((len(logits),), inputs["h_threshold"], dtype=torch.float64),
        temperatures=torch.full((len(logits),), inputs["T_high"], dtype=torch.float64),
    )
    others = torch.full((len(logits),), inputs["T_low"], dtype=torch.float64)
    chosen = temperatures_by_entropy(logits, others, forks)
    return {
        "entropy": entropies(logits),
        "T": chosen,
        "probs": (logits / chosen[:, None]).softmax(-1),
    }


def rule8020_overlap(case: Case) -> Results:
    first, second = case.given("entropy_a")[None], case.given("entropy_b")[None]
    every = torch.ones_like(first, dtype=torch.bool)
    top_a, top_b = (top_share(entropy, every, share=case.inputs["rho"]) for entropy in (first, second))
    return {
        "top_a": top_a[0].nonzero().flatten(),
        "top_b": top_b[0].nonzero().flatten(),
        "overlap": overlap(top_a, top_b),
    }


def _trl_quantile(entropy: Tensor, mask: Tensor, case: Case) -> Tensor:
    return batch_quantile(entropy, mask, quantile=1 - case.inputs["rho"])


def _entropy_and_mask(case: Case) -> tuple[Tensor, Tensor]:
    """Rows of entropies; a case without a mask has no pads."""
    entropy = case.given("entropy")
    entropy = entropy[None] if entropy.dim() == 1 else entropy
    if "mask" in case.inputs:
        return entropy, case.given_mask().reshape(entropy.shape)
    return entropy, torch.ones_like(entropy, dtype=torch.bool)


def _mean(values: Tensor, where: Tensor, *, per_sequence: bool) -> Tensor:
    if per_sequence:
        return sequence_mean_of_token_means(values, where, num_sequences=len(where))
    return token_mean(values, where, num_tokens=int(where.sum()))


EVALUATIONS = {
    "archer_single_token": archer_single_token,
    "archer_fully_padded_row": archer,
    "archer_dual_clip10": archer_dual_clip10,
    "archer_tau_zero_ties": archer_tau_zero_ties,
    "archer_response_vs_batch_threshold": archer_response_vs_batch_threshold,
    "aspo_positive_gradient": aspo_positive_gradient,
    "rule8020_topk_count": rule8020_topk_count,
    "rule8020_loss": rule8020_loss,
    "rule8020_ties": rule8020_ties,
    "rule8020_all_masked": rule8020_all_masked,
    "rule8020_bottom80": rule8020_bottom80,
    "rule8020_decode_temperature": rule8020_decode_temperature,
    "rule8020_overlap": rule8020_overlap,
    **{
        f"archer_{variant}_bk{low}_br{high}": archer
        for variant in ("paper", "code_microbatch1", "code_microbatch_all")
        for low, high in (("0.001", "0.0"), ("0.1", "0.02"))
    },
}

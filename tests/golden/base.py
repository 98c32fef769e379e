"""The cases of the base algorithms, computed by the public functions."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from rlvr_trainer.algorithms.advantages import centered, group_normalized
from rlvr_trainer.algorithms.correction import importance_weights
from rlvr_trainer.algorithms.lengths import soft_overlong
from rlvr_trainer.algorithms.logits import token_statistics
from rlvr_trainer.algorithms.losses import (
    clipped_loss,
    constant,
    kl_k1,
    kl_k2,
    kl_k3,
    sequence_log_ratio,
    sequence_mean_of_token_means,
    sequence_mean_of_token_sums,
    token_mean,
)
from rlvr_trainer.algorithms.objective import Classes
from rlvr_trainer.coordinator.admission import fate
from rlvr_trainer.samples import Fate, Group, Outcome, Prompt, ScoredGroup, Task, Verdict

from .cases import Case
from .scenes import at_tokens, log_ratio_of, scene_of, token_loss

Results = dict[str, Any]


def entropy_two_way(case: Case) -> Results:
    statistics = [_statistics(case.given("logits"), temperature=1.0)]
    return {"probs": statistics[0][0], "entropy": statistics[0][1]}


def entropy_temperature(case: Case) -> Results:
    logits = case.given("logits")[None]
    return {"entropy": torch.cat([_statistics(logits, temperature=t)[1] for t in case.inputs["T"]])}


def grpo_advantages(case: Case) -> Results:
    rewards_PG, eps = case.given("rewards")[None], case.inputs["eps"]
    return {
        "ddof1": group_normalized(rewards_PG, ddof=1, epsilon=eps),
        "ddof0": group_normalized(rewards_PG, ddof=0, epsilon=eps),
        "dr_grpo": centered(rewards_PG),
        "trl_eps_1e_4": group_normalized(rewards_PG, ddof=1, epsilon=1e-4),
    }


def advantage(case: Case) -> Results:
    return {"adv": group_normalized(case.given("rewards")[None], epsilon=case.inputs.get("eps", 1e-6))}


def kl_estimators(case: Case) -> Results:
    logprob, reference = case.given("logp").requires_grad_(), case.given("ref_logp")
    clamped = kl_k3(logprob, reference)
    (grad,) = torch.autograd.grad(clamped.sum(), logprob)
    return {
        "k1": kl_k1(logprob, reference),
        "k2": kl_k2(logprob, reference),
        "k3_unclamped": kl_k3(logprob, reference, ceiling=float("inf")),
        "k3_clamped": clamped,
        "dk3_dlogp": grad,
    }


def ppo_clip_table(case: Case) -> Results:
    bounds = {"eps_low": case.inputs["clip_low"], "eps_high": case.inputs["clip_high"]}
    results = dict(zip(("loss", "grad"), token_loss(case, **bounds), strict=True))
    for name in case.expected:
        if found := re.fullmatch(r"(?:loss|grad)_dual([\d.]+)", name):
            loss, grad = token_loss(case, **bounds, dual_clip=float(found[1]))
            results |= {f"loss_dual{found[1]}": loss, f"grad_dual{found[1]}": grad}
    return results


def loss_aggregation(case: Case) -> Results:
    loss_BT, mask_BT = case.given("loss"), case.given_mask()
    num_tokens, num_sequences = int(mask_BT.sum()), len(mask_BT)
    rows = [
        token_mean(loss_T, mask_T, num_tokens=int(mask_T.sum()))
        for loss_T, mask_T in zip(loss_BT, mask_BT, strict=True)
    ]
    return {
        "token_mean": token_mean(loss_BT, mask_BT, num_tokens=num_tokens),
        "seq_mean_token_mean": sequence_mean_of_token_means(loss_BT, mask_BT, num_sequences=num_sequences),
        "seq_mean_token_sum": sequence_mean_of_token_sums(loss_BT, mask_BT, num_sequences=num_sequences),
        "dr_grpo": constant(loss_BT, mask_BT, num_sequences=num_sequences, budget=case.inputs["L_max"]),
        "microbatch1_token_mean": torch.stack(rows).mean(),
    }


def dapo_soft_overlong(case: Case) -> Results:
    lengths, limits = case.given("lengths"), _limits(case)
    return {
        "penalty": soft_overlong(lengths, **limits),
        "verl_unclamped": soft_overlong(lengths, **limits, floor=False),
    }


def kept_groups(case: Case) -> Results:
    groups = case.inputs.get("acc", case.inputs.get("groups"))
    kept = [name for name, scores in groups.items() if _fate(scores) is Fate.TRAINED]
    dropped = [scores for name, scores in groups.items() if name not in kept]
    return {
        "kept": kept,
        "solve_all": sum(all(score > 0 for score in scores) for scores in dropped),
        "solve_none": sum(not any(score > 0 for score in scores) for scores in dropped),
        "valid": len(kept),
    }


def dapo_end_to_end_adv(case: Case) -> Results:
    rewards_PG = (case.given("correct_reward") + soft_overlong(case.given("lengths"), **_limits(case)))[None]
    return {"total_reward": rewards_PG, "adv": group_normalized(rewards_PG)}


def dapo_loss(case: Case) -> Results:
    low, high = case.inputs["clip_low"], case.inputs["clip_high"]
    token, _ = token_loss(case, eps_low=low, eps_high=high)
    scene = scene_of(case, clip_low=low, clip_high=high)
    return {"token_loss": at_tokens(token, case, "token_loss"), **scene.loss_and_gradient()}


def grpo_loss_with_kl(case: Case) -> Results:
    beta, clip = case.inputs["beta"], case.inputs["clip"]
    kl = Classes(high=beta, low=beta)
    scene = scene_of(case, clip_low=clip, clip_high=clip, kl=kl, reduction="sequenceTokenMean")
    k3 = scene.loss().facts.k3_MT
    assert k3 is not None, "beta is not 0, so the reference was compared with"
    return {"token_k3": at_tokens(k3, case, "token_k3"), **scene.loss_and_gradient()}


def gspo_sequence(case: Case) -> Results:
    low, high = case.inputs["clip_low"], case.inputs["clip_high"]
    ratio_B1 = sequence_log_ratio(log_ratio_of(case), case.given_mask()).exp()
    scene = scene_of(case, clip_low=low, clip_high=high, sequence_ratio=True, reduction="sequenceTokenMean")
    return {
        "s": ratio_B1,
        "seq_loss": clipped_loss(ratio_B1, case.given("adv")[:, None], eps_low=low, eps_high=high),
        **scene.loss_and_gradient(),
    }


def tis_weights(case: Case) -> Results:
    mismatch_BT, cap = (case.given("logp_trainer_old") - case.given("logp_rollout"))[None], case.inputs["C"]
    every_BT = torch.ones_like(mismatch_BT, dtype=torch.bool)
    return {
        "raw": importance_weights(mismatch_BT, every_BT, cap=float("inf")),
        "token_truncate": importance_weights(mismatch_BT, every_BT, cap=cap),
        "token_mask": importance_weights(mismatch_BT, every_BT, cap=cap, mode="mask"),
        "sequence_weight": importance_weights(mismatch_BT, every_BT, cap=cap, level="sequence")[0, :1],
        "geometric_weight": importance_weights(mismatch_BT, every_BT, cap=cap, level="geometric")[0, :1],
    }


def _statistics(logits_NV: Tensor, *, temperature: float) -> tuple[Tensor, Tensor]:
    """Probabilities [N, V] and entropies [N]: the identity as output layer makes hidden states logits."""
    size = logits_NV.shape[-1]
    identity_VV = torch.eye(size, dtype=logits_NV.dtype)
    columns = [
        token_statistics(logits_NV, identity_VV, torch.full((len(logits_NV),), token), temperature=temperature)
        for token in range(size)
    ]
    return torch.stack([logprob_N for logprob_N, _ in columns], dim=-1).exp(), columns[0][1]


def _limits(case: Case) -> dict[str, int]:
    return {"max_tokens": case.inputs["L_max"], "cache": case.inputs["L_cache"]}


def _fate(scores: list[float]) -> Fate:
    verdicts = tuple(Verdict(outcome=Outcome.CORRECT if score > 0 else Outcome.WRONG, score=score) for score in scores)
    prompt = Prompt(position=0, text="", token_ids=(), task=Task())
    return fate(ScoredGroup(group=Group(prompt=prompt, completions=()), verdicts=verdicts), drops_flat=True)


EVALUATIONS = {
    "entropy_two_way": entropy_two_way,
    "entropy_temperature": entropy_temperature,
    "grpo_adv_one_of_four": grpo_advantages,
    "grpo_adv_half": grpo_advantages,
    "grpo_adv_all_right": grpo_advantages,
    "grpo_adv_all_wrong": grpo_advantages,
    "grpo_adv_singleton_verl": advantage,
    "kl_estimators": kl_estimators,
    "ppo_clip_table": ppo_clip_table,
    "loss_aggregation": loss_aggregation,
    "dapo_soft_overlong": dapo_soft_overlong,
    "dapo_dynamic_sampling": kept_groups,
    "dapo_end_to_end_adv": dapo_end_to_end_adv,
    "dapo_loss": dapo_loss,
    "grpo_loss_with_kl": grpo_loss_with_kl,
    "gspo_sequence": gspo_sequence,
    "tis_weights": tis_weights,
    "archer_reward_and_filter": kept_groups,
    "laser_group_advantage": advantage,
    "laser_all_correct_group": advantage,
}

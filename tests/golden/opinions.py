"""The cases of Laser and VibeThinker, computed by the public functions."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from rlvr_trainer.algorithms.advantages import group_normalized
from rlvr_trainer.algorithms.emphasis import (
    claim_reliability,
    long_to_short,
    max_entropy_deviation,
    max_entropy_weight,
    weight_of_accuracy,
)
from rlvr_trainer.algorithms.lengths import (
    efficient,
    kimi,
    l1_exact,
    l1_max,
    laser,
    laser_de,
    o1_pruner,
    spread,
    truncation,
)
from rlvr_trainer.algorithms.passk import pass_at_k
from rlvr_trainer.algorithms.targets import (
    Rounding,
    coverage,
    difficulty,
    length_grid,
    required_correct,
    target_length,
)

from .cases import Case
from .scenes import scene_of

Results = dict[str, Any]


def laser_reward_zoo(case: Case) -> Results:
    base, lengths, correct = (case.given(name)[None] for name in ("base_reward", "lengths", "correct"))
    right, target, alpha = correct.bool(), case.inputs["L_T"], case.inputs["alpha"]
    mean, std = spread(lengths, right)
    return {
        "truncation_rho0": truncation(base, lengths, target=target),
        "efficient_reasoning_alpha0_4": efficient(base, right, lengths, alpha=0.4),
        "efficient_group_mean": mean,
        "efficient_group_std_ddof1": std,
        "kimi_k15_S": kimi(torch.zeros_like(base), right, lengths),
        "kimi_k15_total_coef1": kimi(base, right, lengths),
        "kimi_code_coef0_4": kimi(base, right, lengths, coefficient=0.4),
        "l1_exact_alpha3e_4": l1_exact(correct, lengths, target=target),
        "l1_max_alpha3e_4_delta0_5": l1_max(right, lengths, target=target),
        "laser": laser(base, right, lengths, target=target, alpha=alpha),
        "laser_de": laser_de(base, right, lengths, base > -1, target=target, alpha=alpha),
        "o1_pruner_Lref4000_Aref0_5_lambda2": o1_pruner(right, lengths, ref_length=4000, ref_accuracy=0.5, lam=2),
    }


def laser_step_boundary(case: Case) -> Results:
    base, target, alpha = case.given("base_reward"), case.inputs["L_T"], case.inputs["alpha"]
    return {"reward": laser(base, base == 1, case.given("lengths"), target=target, alpha=alpha)}


def laser_d_buckets(case: Case) -> Results:
    counts = [Fraction(accuracy).limit_denominator(1_000_000) for accuracy in case.inputs["acc"]]
    return {
        "reward_time": [difficulty(share.numerator, share.denominator) for share in counts],
        "monitor_time": [difficulty(share.numerator, share.denominator, boundary_is_easier=False) for share in counts],
    }


def laser_d_ecr_target(case: Case) -> Results:
    buckets, grid = case.inputs["lengths"], case.inputs["thresholds"]
    size, longest = case.inputs["K"], case.inputs["max_observed"]

    def required(rounding: Rounding) -> dict[str, int]:
        return {name: required_correct(name, group_size=size, rounding=rounding) for name in buckets}

    def targets(rounding: Rounding) -> dict[str, int]:
        needed = required(rounding)
        return {
            name: target_length(lengths, grid, required=needed[name], longest=longest)
            for name, lengths in buckets.items()
        }

    return {
        "coverage": {name: list(coverage(lengths, grid)) for name, lengths in buckets.items()},
        "target_paper_ceil": targets("ceil"),
        "target_code_floor": targets("floor"),
        "min_coverage_paper": {name: 1 / count for name, count in required("ceil").items()},
        "min_coverage_floor": {name: 1 / count if count else math.inf for name, count in required("floor").items()},
    }


def laser_threshold_grid(case: Case) -> Results:
    return {"thresholds": [list(length_grid(low, high, step=step)) for low, high, step in case.inputs["grids"]]}


def laser_de_rewards(case: Case) -> Results:
    base, lengths, loops = case.given("base"), case.given("length"), case.given_mask("loops")
    target, alpha, readable = case.inputs["L_A"], case.inputs["alpha"], base > -1
    reward = laser_de(base, base == 1, lengths, readable, target=target, alpha=alpha)
    return {
        "paper": reward,
        "released_effective": reward,
        "with_loop_gate": laser_de(base, base == 1, lengths, readable & ~loops, target=target, alpha=alpha),
    }


def mgpo_weight_table(case: Case) -> Results:
    accuracy, center = case.given("p"), case.inputs["p0"]
    strengths = [found[1] for name in case.expected if (found := re.fullmatch(r"w_lambda([\d.]+)", name))]
    return {
        "D": max_entropy_deviation(accuracy, center=center),
        **{f"w_lambda{s}": weight_of_accuracy(accuracy, strength=float(s), center=center) for s in strengths},
    }


def mgpo_advantage(case: Case) -> Results:
    rewards_PG = case.given("rewards")[None]
    weight_P1 = _weight(rewards_PG, case)
    return {
        "p": (rewards_PG > 0).to(case.dtype).mean(),
        "w": weight_P1,
        "adv": group_normalized(rewards_PG),
        "adv_mgpo": weight_P1 * group_normalized(rewards_PG),
        "adv_if_rewards_scaled_instead": group_normalized(weight_P1 * rewards_PG, epsilon=0.0),
    }


def mgpo_loss(case: Case) -> Results:
    rewards_PG, clip = case.given("rewards")[None], case.inputs["clip"]
    weight_P1 = _weight(rewards_PG, case)
    advantage_PG = weight_P1 * group_normalized(rewards_PG)
    scene = scene_of(case, clip_low=clip, clip_high=clip, advantage=advantage_PG, reduction="sequenceTokenMean")
    return {
        "p": (rewards_PG > 0).to(case.dtype).mean(),
        "w": weight_P1,
        "adv": advantage_PG,
        **scene.loss_and_gradient(),
    }


def mgpo_bad_transcription(case: Case) -> Results:
    share, center = case.inputs["p"], case.inputs.get("p0", 0.5)
    correct = max_entropy_deviation(case.given("p"), center=center)
    assert float(correct) >= 0, f"a divergence of {float(correct)} is negative"
    wrong = share * math.log(share / (1 - share)) + (1 - share) * math.log(center / (1 - center))
    return {"correct": correct, "wrong_formula": wrong}


def passes_at_k(case: Case) -> Results:
    return {"value": [pass_at_k(num_completions=n, num_correct=c, k=k) for n, c, k in case.inputs["ncK"]]}


def long2short(case: Case) -> Results:
    right, wrong = case.given("lengths_correct"), case.given("wrong_rewards")
    base_PG = torch.cat([torch.ones_like(right), wrong])[None]
    correct_PG = torch.arange(base_PG.shape[1])[None] < len(right)
    lengths_PG = torch.cat([right, torch.full_like(wrong, 7.0)])[None]
    shaped_PG = long_to_short(base_PG, correct_PG, lengths_PG, strength=case.inputs["lam"])
    shift = (shaped_PG - base_PG)[correct_PG]
    return {"shift": shift, "reward": shaped_PG[correct_PG], "sum_shift": shift.sum()}


def clr_score(case: Case) -> Results:
    return {"reliability": claim_reliability(case.given("verdicts"), exponent=case.inputs["M"])}


def _weight(rewards_PG: Tensor, case: Case) -> Tensor:
    weight_P1 = max_entropy_weight(rewards_PG > 0, strength=case.inputs["lam"], center=case.inputs.get("p0", 0.5))
    return weight_P1.to(rewards_PG)


EVALUATIONS = {
    "laser_reward_zoo": laser_reward_zoo,
    "laser_step_boundary": laser_step_boundary,
    "laser_d_buckets": laser_d_buckets,
    "laser_d_ecr_target": laser_d_ecr_target,
    "laser_threshold_grid": laser_threshold_grid,
    "laser_de_rewards": laser_de_rewards,
    "mgpo_weight_table": mgpo_weight_table,
    "mgpo_advantage_1of8": mgpo_advantage,
    "mgpo_advantage_4of8": mgpo_advantage,
    "mgpo_advantage_8of8": mgpo_advantage,
    "mgpo_loss": mgpo_loss,
    "mgpo_bad_transcription": mgpo_bad_transcription,
    "pass_at_k": passes_at_k,
    "vibethinker3b_long2short": long2short,
    "vibethinker3b_clr_score": clr_score,
}

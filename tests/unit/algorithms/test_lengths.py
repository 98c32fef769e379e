from __future__ import annotations

import pytest
import torch
from torch import Tensor

from golden.cases import CASES
from rlvr_trainer.algorithms.advantages import group_normalized
from rlvr_trainer.algorithms.lengths import (
    coverage,
    difficulty,
    efficient,
    kimi,
    l1_exact,
    l1_max,
    laser,
    laser_de,
    length_grid,
    o1_pruner,
    required_correct,
    soft_overlong,
    target_length,
    truncation,
)


def test_soft_overlong_agrees_with_the_table() -> None:
    case = CASES["dapo_soft_overlong"]
    lengths, limits = case.given("lengths"), {"max_tokens": case.inputs["L_max"], "cache": case.inputs["L_cache"]}

    case.assert_close(soft_overlong(lengths, **limits), "penalty")
    case.assert_close(soft_overlong(lengths, **limits, floor=False), "verl_unclamped")


def test_overlong_punishment_enters_the_reward_before_the_advantage() -> None:
    case = CASES["dapo_end_to_end_adv"]
    limits = {"max_tokens": case.inputs["L_max"], "cache": case.inputs["L_cache"]}

    reward_PG = (case.given("correct_reward") + soft_overlong(case.given("lengths"), **limits))[None]

    case.assert_close(reward_PG[0], "total_reward")
    case.assert_close(group_normalized(reward_PG)[0], "adv")


def zoo() -> dict[str, Tensor]:
    """The rewards of laser_reward_zoo, under the names of its columns."""
    case = CASES["laser_reward_zoo"]
    base, lengths, correct = (case.given(name)[None] for name in ("base_reward", "lengths", "correct"))
    right, target, alpha = correct.bool(), case.inputs["L_T"], case.inputs["alpha"]
    readable = torch.ones_like(right)
    return {
        "truncation_rho0": truncation(base, lengths, target=target),
        "efficient_reasoning_alpha0_4": efficient(base, right, lengths, alpha=0.4),
        "kimi_k15_S": kimi(torch.zeros_like(base), right, lengths),
        "kimi_k15_total_coef1": kimi(base, right, lengths),
        "kimi_code_coef0_4": kimi(base, right, lengths, coefficient=0.4),
        "l1_exact_alpha3e_4": l1_exact(correct, lengths, target=target),
        "l1_max_alpha3e_4_delta0_5": l1_max(right, lengths, target=target),
        "laser": laser(base, right, lengths, target=target, alpha=alpha),
        "laser_de": laser_de(base, right, lengths, readable, target=target, alpha=alpha),
        "o1_pruner_Lref4000_Aref0_5_lambda2": o1_pruner(right, lengths, ref_length=4000, ref_accuracy=0.5, lam=2),
    }


@pytest.mark.parametrize("column", zoo())
def test_every_length_reward_agrees_with_the_zoo(column: str) -> None:
    CASES["laser_reward_zoo"].assert_close(zoo()[column][0], column)


def test_the_target_length_is_still_short() -> None:
    case = CASES["laser_step_boundary"]
    base = case.given("base_reward")

    reward = laser(base, base == 1, case.given("lengths"), target=case.inputs["L_T"], alpha=case.inputs["alpha"])

    case.assert_close(reward, "reward")


def test_laser_de_rewards_long_wrong_answers_unless_they_cannot_be_read() -> None:
    case = CASES["laser_de_rewards"]
    base = case.given("base")
    target, alpha = case.inputs["L_A"], case.inputs["alpha"]

    reward = laser_de(base, base == 1, case.given("length"), base > -1, target=target, alpha=alpha)
    gated = laser_de(
        base, base == 1, case.given("length"), (base > -1) & ~case.given_mask("loops"), target=target, alpha=alpha
    )

    case.assert_close(reward, "paper")
    case.assert_close(gated, "with_loop_gate")


def test_the_buckets_differ_only_at_the_thirds() -> None:
    case = CASES["laser_d_buckets"]

    assert [difficulty(share) for share in case.inputs["acc"]] == case.expected["reward_time"]
    assert [difficulty(share, boundary_is_easier=False) for share in case.inputs["acc"]] == case.expected[
        "monitor_time"
    ]


@pytest.mark.parametrize("bucket", ["easy", "medium", "hard"])
def test_target_lengths_agree_with_the_search(bucket: str) -> None:
    case = CASES["laser_d_ecr_target"]
    lengths_M, grid = torch.tensor(case.inputs["lengths"][bucket]), tuple(case.inputs["thresholds"])
    group, longest = case.inputs["K"], case.inputs["max_observed"]

    torch.testing.assert_close(coverage(lengths_M, grid), torch.tensor(case.expected["coverage"][bucket]))
    for rounding, column in [("ceil", "target_paper_ceil"), ("floor", "target_code_floor")]:
        required = required_correct(bucket, group_size=group, rounding=rounding)  # type: ignore[arg-type]
        assert target_length(lengths_M, grid, required=required, longest=longest) == case.expected[column][bucket]


def test_grids_agree_with_the_released_ones() -> None:
    case = CASES["laser_threshold_grid"]

    grids = [list(length_grid(low, high, step=step)) for low, high, step in case.inputs["grids"]]

    assert grids == case.expected["thresholds"]


def test_a_bucket_without_answers_gets_the_longest_length() -> None:
    assert target_length(torch.tensor([]), (1024, 2048), required=6, longest=3000) == 3000


def test_exactly_one_expected_correct_answer_is_enough() -> None:
    assert target_length(torch.tensor([5, 90, 90, 90, 90, 90]), (10, 100), required=6, longest=200) == 10


def test_a_wrong_answer_at_the_target_has_not_explored() -> None:
    wrong, readable = torch.tensor([False]), torch.tensor([True])

    assert laser_de(torch.zeros(1), wrong, torch.tensor([50]), readable, target=50, alpha=0.5).item() == 0


def test_a_target_never_grows_when_more_correct_answers_are_expected() -> None:
    lengths_M = torch.arange(100, 5000, 37)
    grid = length_grid(512, 4096, step=512)

    targets = [target_length(lengths_M, grid, required=required, longest=5000) for required in range(1, 9)]

    assert targets == sorted(targets, reverse=True)


def test_punishment_never_falls_with_length_nor_rewards_it() -> None:
    penalty = soft_overlong(torch.arange(0, 300), max_tokens=200, cache=50)

    assert (penalty.diff() <= 0).all()
    assert (penalty.min(), penalty.max()) == (-1, 0)


def test_without_a_bonus_laser_is_the_base_reward() -> None:
    base, lengths = torch.tensor([1.0, -0.5, -1.0]), torch.tensor([10, 20, 30])
    right, readable = torch.tensor([True, False, False]), torch.tensor([True, True, False])

    assert torch.equal(laser(base, right, lengths, target=15, alpha=0.0), base)
    assert torch.equal(laser_de(base, right, lengths, readable, target=15, alpha=0.0), base)


def test_laser_never_ranks_a_wrong_answer_above_a_correct_one() -> None:
    lengths = torch.arange(1, 100)
    right, wrong = torch.ones(99, dtype=torch.bool), torch.zeros(99, dtype=torch.bool)
    rewards = {"target": 50, "alpha": 0.5}

    best_wrong = laser_de(torch.full((99,), -0.5), wrong, lengths, right, **rewards).max()
    worst_right = laser_de(torch.ones(99), right, lengths, right, **rewards).min()

    assert best_wrong < worst_right


def test_rows_may_have_targets_of_their_own() -> None:
    right, lengths = torch.ones(2, 2, dtype=torch.bool), torch.tensor([[10, 30], [10, 30]])

    reward_PG = laser(torch.ones(2, 2), right, lengths, target=torch.tensor([[20], [40]]), alpha=0.5)

    assert reward_PG.tolist() == [[1.5, 1.0], [1.5, 1.5]]


def test_a_lone_or_equally_long_correct_answer_leaves_efficiency_finite() -> None:
    lengths, base = torch.tensor([[7.0, 9.0], [8.0, 8.0]]), torch.ones(2, 2)
    right = torch.tensor([[True, False], [True, True]])

    reward_PG = efficient(base, right, lengths, alpha=0.4)

    assert reward_PG.isfinite().all()
    assert reward_PG[0, 1] == 1
    assert torch.equal(kimi(base, right, torch.full((2, 2), 5)), base)

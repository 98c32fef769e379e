from __future__ import annotations

import pytest
import torch
from torch import Tensor

from golden.cases import CASES
from rlvr_trainer.algorithms.advantages import group_normalized
from rlvr_trainer.algorithms.lengths import (
    efficient,
    kimi,
    l1_exact,
    l1_max,
    l1_max_released,
    laser,
    laser_de,
    o1_pruner,
    soft_overlong,
    spread,
    targets_of,
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


def test_a_wrong_answer_at_the_target_has_not_explored() -> None:
    wrong, readable = torch.tensor([False]), torch.tensor([True])

    assert laser_de(torch.zeros(1), wrong, torch.tensor([50]), readable, target=50, alpha=0.5).item() == 0


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


def test_the_released_forms_differ_from_the_papers_only_where_they_say() -> None:
    right, lengths = torch.tensor([[True, True, False]]), torch.tensor([[10.0, 50.0, 5.0]])
    base = torch.tensor([[1.0, 1.0, -0.5]])

    paper, released = (efficient(base, right, lengths, alpha=0.4, form=form) for form in ("paper", "released"))
    doubled = efficient(2 * base, right, lengths, alpha=0.4, form="released")

    torch.testing.assert_close(released, paper)
    torch.testing.assert_close(doubled, 2 * released)


def test_the_longer_correct_answer_loses_more_and_a_wrong_one_nothing() -> None:
    right, lengths = torch.tensor([[True, True, False]]), torch.tensor([[10.0, 50.0, 5.0]])

    reward_PG = efficient(torch.tensor([[1.0, 1.0, 0.0]]), right, lengths, alpha=0.4)

    # mean 30, std sqrt(800): both are 0.7071 away from the mean
    assert reward_PG[0].tolist() == pytest.approx([1 - 0.4 * 0.330238, 1 - 0.4 * 0.669762, 0.0], abs=1e-6)


def test_the_spread_of_a_lone_correct_answer_is_the_released_convention() -> None:
    mean_P1, std_P1 = spread(torch.tensor([[7.0, 9.0], [4.0, 8.0]]), torch.tensor([[True, False], [True, True]]))

    assert mean_P1.tolist() == [[0.0], [6.0]]
    assert std_P1.flatten().tolist() == pytest.approx([1.0, 8**0.5])


def test_equally_long_correct_answers_lose_half_of_alpha() -> None:
    reward_PG = efficient(torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), torch.full((1, 2), 8), alpha=0.4)

    assert reward_PG.tolist() == [[pytest.approx(0.8), pytest.approx(0.8)]]


def test_l1_max_pays_more_the_further_below_the_target_and_nothing_for_wrong_answers() -> None:
    right, lengths = torch.tensor([True, True, True, True, False]), torch.tensor([0, 400, 500, 2000, 100])

    paper = l1_max(right, lengths, target=500, alpha=1e-3, delta=0.25)
    released = l1_max_released(right, lengths, target=500, alpha=1e-3)

    assert paper.tolist() == pytest.approx([0.75, 0.35, 0.25, 0.0, 0.0])
    assert released.tolist() == pytest.approx([0.75, 0.55, 0.5, 0.0, 0.0])
    assert l1_max_released(right, lengths, target=500, alpha=0.1).tolist() == [1.0, 1.0, 0.5, 0.0, 0.0]


def test_o1_pruner_takes_means_of_each_prompt() -> None:
    right, lengths = torch.tensor([[True, False], [True, True]]), torch.tensor([[100, 200], [50, 400]])
    means = {"ref_length": torch.tensor([[200.0], [100.0]]), "ref_accuracy": torch.tensor([[0.5], [0.25]])}

    reward_PG = o1_pruner(right, lengths, **means, lam=2.0)

    assert reward_PG.tolist() == [[2.0, -1.0], [2.5, 0.75]]


def test_each_group_has_the_target_of_its_difficulty_and_none_beyond_its_batch() -> None:
    correct_PG = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]], dtype=torch.bool)
    lengths_PG = torch.tensor([[5, 60, 7], [1, 2, 3], [9, 9, 9], [4, 4, 4]])
    targets = {"easy": 10, "medium": 20, "hard": 30}

    released_PG = targets_of(correct_PG, lengths_PG, targets, boundary_is_easier=False)

    assert targets_of(correct_PG, lengths_PG, targets)[:, 0].tolist() == [10, 20, 30, 10]
    assert released_PG[:, 0].tolist() == [20, 30, 30, 10]
    assert targets_of(correct_PG, lengths_PG, {"easy": 10, "medium": 999, "hard": 61}).tolist() == [
        [10] * 3,
        [60] * 3,
        [60] * 3,
        [10] * 3,
    ]


def test_kimi_scores_lie_between_a_half_and_minus_a_half_of_the_groups_range() -> None:
    right, lengths = torch.tensor([[True, True, True, False, False]]), torch.tensor([[10, 15, 30, 10, 30]])

    assert kimi(torch.zeros(1, 5), right, lengths).tolist() == [[0.5, 0.25, -0.5, 0.0, -0.5]]
    assert kimi(torch.ones(1, 5), right, lengths, coefficient=0.4).tolist() == [
        pytest.approx([1.2, 1.1, 0.8, 1.0, 0.8])
    ]


def test_every_group_has_a_spread_and_a_range_of_its_own() -> None:
    lengths_PG = torch.tensor([[2.0, 4.0, 9.0, 50.0], [10.0, 10.0, 10.0, 10.0], [1.0, 2.0, 3.0, 4.0]])
    right_PG = torch.tensor([[True, True, True, False], [True] * 4, [False] * 4])

    mean_P1, std_P1 = spread(lengths_PG, right_PG)

    assert mean_P1[:2].tolist() == [[5.0], [10.0]]
    assert std_P1[:2].flatten().tolist() == pytest.approx([13**0.5, 0.0])
    assert mean_P1[2].isnan().all()
    assert torch.equal(efficient(lengths_PG, right_PG, lengths_PG, alpha=0.4)[2], lengths_PG[2])
    assert kimi(torch.zeros(3, 4), torch.ones_like(right_PG), lengths_PG)[:, [0, 3]].tolist() == [
        [0.5, -0.5],
        [0.0, 0.0],
        [0.5, -0.5],
    ]


def test_one_token_more_is_already_the_longest() -> None:
    right_PG = torch.tensor([[True, True]])

    assert kimi(torch.zeros(1, 2), right_PG, torch.tensor([[4, 5]])).tolist() == [[0.5, -0.5]]

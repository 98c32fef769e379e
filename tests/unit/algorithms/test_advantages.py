from __future__ import annotations

import pytest
import torch

from golden.cases import CASES
from rlvr_trainer.algorithms.advantages import centered, group_normalized, leave_one_out


@pytest.mark.parametrize("name", ["grpo_adv_one_of_four", "grpo_adv_half", "grpo_adv_all_right", "grpo_adv_all_wrong"])
def test_group_advantages_agree_with_the_published_forms(name: str) -> None:
    case = CASES[name]
    rewards_PG, eps = case.given("rewards")[None], case.inputs["eps"]

    case.assert_close(group_normalized(rewards_PG, ddof=1, epsilon=eps)[0], "ddof1")
    case.assert_close(group_normalized(rewards_PG, ddof=0, epsilon=eps)[0], "ddof0")
    case.assert_close(group_normalized(rewards_PG, ddof=1, epsilon=1e-4)[0], "trl_eps_1e_4")
    case.assert_close(centered(rewards_PG)[0], "dr_grpo")


def test_the_advantage_of_a_group_of_one_is_its_reward() -> None:
    case = CASES["grpo_adv_singleton_verl"]

    case.assert_close(group_normalized(case.given("rewards")[None], epsilon=case.inputs["eps"])[0], "adv")


@pytest.mark.parametrize("name", ["laser_group_advantage", "laser_all_correct_group"])
def test_shaped_rewards_are_normalized_like_any_other(name: str) -> None:
    case = CASES[name]

    case.assert_close(group_normalized(case.given("rewards")[None])[0], "adv")


@pytest.mark.parametrize(("name", "groups"), [("dapo_dynamic_sampling", "acc"), ("archer_reward_and_filter", "groups")])
def test_exactly_the_groups_that_dynamic_sampling_keeps_have_an_advantage(name: str, groups: str) -> None:
    case = CASES[name]
    advantages = {key: centered(torch.tensor([scores]).double()) for key, scores in case.inputs[groups].items()}

    assert [key for key, advantage_PG in advantages.items() if advantage_PG.any()] == case.expected["kept"]


def test_leave_one_out_compares_each_answer_with_its_siblings() -> None:
    rewards_PG = torch.tensor([[1.0, 0.0, 0.0, 1.0]])

    assert leave_one_out(rewards_PG)[0].tolist() == pytest.approx([2 / 3, -2 / 3, -2 / 3, 2 / 3])


def test_leave_one_out_needs_siblings() -> None:
    with pytest.raises(AssertionError, match="sample at least 2"):
        leave_one_out(torch.ones(3, 1))


@pytest.mark.parametrize("advantage", [group_normalized, centered, leave_one_out])
def test_advantages_of_a_group_sum_to_zero_and_follow_a_permutation(advantage: object) -> None:
    assert callable(advantage)
    rewards_PG = torch.randn(5, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(2))

    assert advantage(rewards_PG).sum(-1).tolist() == pytest.approx([0.0] * 5, abs=1e-12)
    torch.testing.assert_close(advantage(rewards_PG[:, order]), advantage(rewards_PG)[:, order])


@pytest.mark.parametrize("advantage", [group_normalized, centered, leave_one_out])
def test_a_flat_group_has_no_advantage_whatever_its_reward(advantage: object) -> None:
    assert callable(advantage)
    rewards_PG = torch.full((1, 7), 0.1, dtype=torch.float32)

    assert advantage(rewards_PG).tolist() == [[0.0] * 7]


def test_the_deviation_may_be_that_of_the_sample_or_of_the_population() -> None:
    rewards_PG = torch.tensor([[1.0, 3.0]]).double()

    assert group_normalized(rewards_PG, ddof=0, epsilon=0.0)[0].tolist() == pytest.approx([-1.0, 1.0])
    assert group_normalized(rewards_PG, epsilon=0.0)[0].tolist() == pytest.approx([-(0.5**0.5), 0.5**0.5])
    assert group_normalized(rewards_PG, ddof=0, epsilon=1.0)[0].tolist() == pytest.approx([-0.5, 0.5])
    assert group_normalized(torch.ones(1, 3), epsilon=0.0).tolist() == [[0.0] * 3]
    assert group_normalized(torch.tensor([[3.0]]), epsilon=0.5).tolist() == [[2.0]]


def test_only_the_flat_groups_of_a_batch_have_none() -> None:
    rewards_PG = torch.tensor([[1.0, 1.0], [0.0, 1.0]])

    assert centered(rewards_PG).tolist() == [[0.0, 0.0], [-0.5, 0.5]]
    assert leave_one_out(rewards_PG).tolist() == [[0.0, 0.0], [-1.0, 1.0]]

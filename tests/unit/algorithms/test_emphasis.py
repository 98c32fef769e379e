from __future__ import annotations

import math

import pytest
import torch

from golden.cases import CASES
from rlvr_trainer.algorithms.advantages import group_normalized
from rlvr_trainer.algorithms.emphasis import (
    claim_reliability,
    long_to_short,
    max_entropy_deviation,
    max_entropy_weight,
    weight_of_accuracy,
)


def test_deviation_and_weights_agree_with_the_table() -> None:
    case = CASES["mgpo_weight_table"]
    correct_PG = torch.arange(8)[None] < 8 * case.given("p")[:, None]

    case.assert_close(max_entropy_deviation(case.given("p")), "D")
    for strength in (0, 1, 2, 4):
        case.assert_close(max_entropy_weight(correct_PG, strength=strength)[:, 0], f"w_lambda{strength}")


@pytest.mark.parametrize("name", ["mgpo_advantage_1of8", "mgpo_advantage_4of8", "mgpo_advantage_8of8"])
def test_the_weight_scales_advantages_because_on_rewards_it_would_cancel(name: str) -> None:
    case = CASES[name]
    rewards_PG = case.given("rewards")[None]
    weight_P1 = max_entropy_weight(rewards_PG > 0, strength=case.inputs["lam"])

    case.assert_close(weight_P1.squeeze(), "w")
    case.assert_close(group_normalized(rewards_PG)[0], "adv")
    case.assert_close((weight_P1 * group_normalized(rewards_PG))[0], "adv_mgpo")
    case.assert_close(group_normalized(weight_P1 * rewards_PG, epsilon=1e-12)[0], "adv_if_rewards_scaled_instead")


def test_the_deviation_is_not_the_mis_transcribed_one() -> None:
    case = CASES["mgpo_bad_transcription"]

    case.assert_close(max_entropy_deviation(case.given("p")), "correct")


def test_the_deviation_is_never_negative_and_zero_only_at_the_center() -> None:
    share = torch.linspace(0, 1, 101, dtype=torch.float64)

    for center in (0.3, 0.5, 0.8):
        deviation = max_entropy_deviation(share, center=center)
        assert deviation.argmin() == round(100 * center)
        assert deviation.min().item() == pytest.approx(0.0, abs=1e-15)


def test_strength_zero_is_plain_grpo() -> None:
    correct_PG = torch.rand(6, 8, generator=torch.Generator().manual_seed(7)) < 0.4

    assert torch.equal(max_entropy_weight(correct_PG, strength=0.0), torch.ones(6, 1, dtype=torch.float64))


def test_long_to_short_agrees_with_the_table() -> None:
    case = CASES["vibethinker3b_long2short"]
    lengths_PG = torch.tensor([[*case.inputs["lengths_correct"], 500.0]], dtype=torch.float64)
    rewards_PG = torch.tensor([[1.0, 1.0, 1.0, 0.0]], dtype=torch.float64)

    shaped_PG = long_to_short(rewards_PG, rewards_PG > 0, lengths_PG, strength=case.inputs["lam"])

    case.assert_close(shaped_PG[0, :3], "reward")
    case.assert_close((shaped_PG - rewards_PG)[0, :3], "shift")
    case.assert_close((shaped_PG - rewards_PG).sum(), "sum_shift")
    assert shaped_PG[0, 3] == 0


def test_long_to_short_shifts_nothing_when_lengths_are_equal_or_nothing_is_correct() -> None:
    rewards_PG = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    lengths_PG = torch.tensor([[7, 7, 3], [1, 2, 3], [5, 6, 7]])

    assert torch.equal(long_to_short(rewards_PG, rewards_PG > 0, lengths_PG, strength=0.2), rewards_PG)


def test_long_to_short_keeps_wrong_answers_below_correct_ones() -> None:
    generator = torch.Generator().manual_seed(8)
    correct_PG = torch.rand(20, 8, generator=generator) < 0.5
    lengths_PG = torch.randint(1, 9000, (20, 8), generator=generator)

    shaped_PG = long_to_short(correct_PG.double(), correct_PG, lengths_PG, strength=0.2)

    assert shaped_PG[correct_PG].min() >= 0.8 - 1e-12
    assert shaped_PG[~correct_PG].abs().max() == 0
    assert (shaped_PG - correct_PG.double()).sum(-1).abs().max() < 1e-12


def test_reliability_agrees_with_the_table() -> None:
    case = CASES["vibethinker3b_clr_score"]

    case.assert_close(claim_reliability(case.given("verdicts"), exponent=case.inputs["M"]), "reliability")


def test_the_deviation_is_the_divergence_of_two_coins() -> None:
    share = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64)

    deviation = max_entropy_deviation(share, center=0.25)

    assert deviation.tolist() == pytest.approx(
        [-math.log(0.75), 0.0, 0.5 * math.log(2) + 0.5 * math.log(2 / 3), math.log(4)]
    )
    assert weight_of_accuracy(share, strength=2.0, center=0.25)[3].item() == pytest.approx(1 / 16)


def test_the_share_of_correct_answers_decides_not_their_number() -> None:
    correct_PG = torch.tensor([[True, False, False, False], [True, True, True, True]])

    weights_P1 = max_entropy_weight(correct_PG, strength=1.0)

    assert weights_P1.shape == (2, 1)
    assert weights_P1.flatten().tolist() == pytest.approx([0.877382675302, 0.5])


def test_the_shortest_correct_answer_gains_what_the_others_lose() -> None:
    rewards_PG, correct_PG = torch.tensor([[1.0, 1.0, 5.0]]).double(), torch.tensor([[True, True, False]])

    shaped_PG = long_to_short(rewards_PG, correct_PG, torch.tensor([[10, 30, 1]]), strength=0.3)

    assert shaped_PG[0].tolist() == pytest.approx([1.3, 0.7, 5.0])


def test_reliability_is_the_mean_to_a_power() -> None:
    assert claim_reliability(torch.tensor([True, True, True, False]), exponent=3).item() == pytest.approx(0.421875)

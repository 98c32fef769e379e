from __future__ import annotations

import math

import pytest
import torch

from golden.cases import CASES
from rlvr_trainer.algorithms.correction import Level, importance_weights, mismatch_kl


def test_weights_agree_with_the_table() -> None:
    case = CASES["tis_weights"]
    mismatch_BT, cap = (case.given("logp_trainer_old") - case.given("logp_rollout"))[None], case.inputs["C"]
    all_BT = torch.ones(1, 4, dtype=torch.bool)

    case.assert_close(importance_weights(mismatch_BT, all_BT, cap=1e9)[0], "raw")
    case.assert_close(importance_weights(mismatch_BT, all_BT, cap=cap)[0], "token_truncate")
    case.assert_close(importance_weights(mismatch_BT, all_BT, cap=cap, mode="mask")[0], "token_mask")
    case.assert_close(importance_weights(mismatch_BT, all_BT, cap=cap, level="sequence")[0, 0], "sequence_weight")
    case.assert_close(importance_weights(mismatch_BT, all_BT, cap=cap, level="geometric")[0, 0], "geometric_weight")


@pytest.mark.parametrize("level", ["token", "sequence", "geometric"])
def test_agreement_weighs_one_and_pads_weigh_nothing(level: Level) -> None:
    mask_BT = torch.tensor([[True, True, False], [False, False, False]])

    weights_BT = importance_weights(torch.zeros(2, 3), mask_BT, cap=2.0, level=level)

    assert torch.equal(weights_BT, mask_BT.float())


@pytest.mark.parametrize("level", ["token", "sequence", "geometric"])
def test_a_token_without_a_finite_log_probability_is_dropped_alone(level: Level) -> None:
    mismatch_BT, mask_BT = torch.tensor([[0.1, 0.2, math.nan, math.inf]]), torch.ones(1, 4, dtype=torch.bool)

    weights_BT = importance_weights(mismatch_BT, mask_BT, cap=9.0, level=level)

    others_BT = importance_weights(mismatch_BT[:, :2], mask_BT[:, :2], cap=9.0, level=level)
    assert torch.equal(weights_BT, torch.cat([others_BT, torch.zeros(1, 2)], dim=1))


def test_a_long_product_stays_finite() -> None:
    mismatch_BT = torch.full((1, 5000), 0.5)

    weights_BT = importance_weights(mismatch_BT, torch.ones(1, 5000, dtype=torch.bool), cap=2.0, level="sequence")

    assert weights_BT.unique().tolist() == [2.0]


def test_no_gradient_flows_through_the_weights() -> None:
    mismatch_BT = torch.zeros(1, 2, requires_grad=True)

    assert not importance_weights(mismatch_BT, torch.ones(1, 2, dtype=torch.bool), cap=2.0).requires_grad


def test_the_mismatch_is_zero_only_where_both_agree() -> None:
    proximal_BT, mask_BT = torch.tensor([[-1.0, -2.0, 7.0]]), torch.tensor([[True, True, False]])

    same = mismatch_kl(proximal_BT, proximal_BT.clone(), mask_BT)
    first, third = mismatch_kl(proximal_BT, torch.tensor([[-1.5, -2.0, math.nan]]), mask_BT)

    assert [value.item() for value in same] == [0.0, 0.0]
    assert first.item() == pytest.approx(-0.5)
    assert third.item() == pytest.approx(math.exp(0.5) - 0.5 - 1)


def test_the_estimates_agree_with_the_true_divergence_in_expectation() -> None:
    sampling, proximal = torch.tensor([0.7, 0.2, 0.1]).log(), torch.tensor([0.5, 0.3, 0.2]).log()
    truth = (sampling.exp() * (sampling - proximal)).sum()
    every = torch.ones(1, 1, dtype=torch.bool)

    estimates = [mismatch_kl(q[None, None], p[None, None], every) for p, q in zip(sampling, proximal, strict=True)]

    for which in (0, 1):
        mean = sum(p.exp() * pair[which] for p, pair in zip(sampling, estimates, strict=True))
        torch.testing.assert_close(mean, truth)


def test_a_weight_on_either_bound_is_kept() -> None:
    weights_BT = importance_weights(torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool), cap=1.0, mode="mask")

    assert weights_BT.item() == 1


def test_weights_beyond_either_bound_are_capped_or_dropped() -> None:
    mismatch_BT = torch.tensor([[3.0, 2.0, 0.5, 0.25]], dtype=torch.float64).log()
    every_BT = torch.ones(1, 4, dtype=torch.bool)

    truncated_BT = importance_weights(mismatch_BT, every_BT, cap=2.5)
    masked_BT = importance_weights(mismatch_BT, every_BT, cap=2.5, mode="mask")

    assert truncated_BT[0].tolist() == pytest.approx([2.5, 2.0, 0.5, 0.25])
    assert masked_BT[0].tolist() == pytest.approx([0.0, 2.0, 0.5, 0.0])


def test_a_sequence_has_the_product_or_the_geometric_mean_of_its_tokens() -> None:
    mismatch_BT = torch.tensor([[2.0, 4.0, 8.0], [3.0, 1.0, 1.0]], dtype=torch.float64).log()
    mask_BT = torch.tensor([[True, True, False], [True, False, False]])

    product_BT = importance_weights(mismatch_BT, mask_BT, cap=100.0, level="sequence")
    mean_BT = importance_weights(mismatch_BT, mask_BT, cap=100.0, level="geometric")

    assert product_BT.flatten().tolist() == pytest.approx([8.0, 8.0, 0.0, 3.0, 0.0, 0.0])
    assert mean_BT.flatten().tolist() == pytest.approx([8**0.5, 8**0.5, 0.0, 3.0, 0.0, 0.0])


def test_log_weights_are_bounded_on_both_sides() -> None:
    weights_BT = importance_weights(
        torch.tensor([[50.0, -50.0]]).double(), torch.ones(1, 2, dtype=torch.bool), cap=float("inf")
    )

    assert weights_BT[0].tolist() == pytest.approx([math.exp(20), math.exp(-20)])


def test_a_veto_needs_a_ratio_strictly_below_it_at_a_counted_token() -> None:
    mismatch_BT = torch.tensor([[0.0, -1.0, -9.0], [0.0, -1.1, 0.0], [0.0, 0.0, math.nan]], dtype=torch.float64)
    mask_BT = torch.tensor([[True, True, False], [True, True, True], [True, True, True]])

    weights_BT = importance_weights(mismatch_BT, mask_BT, cap=2.0, veto=math.exp(-1.0))

    assert (weights_BT > 0).tolist() == [[True, True, False], [False] * 3, [True, True, False]]

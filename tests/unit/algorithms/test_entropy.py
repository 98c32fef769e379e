from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from golden.cases import CASES
from rlvr_trainer.algorithms.entropy import (
    above_quantile,
    batch_quantile,
    by_class,
    kept_tokens,
    overlap,
    percentiles,
    sequence_quantile,
    top_share,
    top_share_of_sequence,
)
from rlvr_trainer.algorithms.losses import clipped_loss, kl_k3, log_ratio, sequence_mean_of_token_means, token_mean

RELEASED = [
    "archer_code_microbatch1_bk0.001_br0.0",
    "archer_code_microbatch1_bk0.1_br0.02",
    "archer_code_microbatch_all_bk0.001_br0.0",
    "archer_code_microbatch_all_bk0.1_br0.02",
]


def random_entropies() -> tuple[Tensor, Tensor]:
    """Five sequences of 0 to 40 tokens, entropies and mask; pads hold the largest values."""
    generator = torch.Generator().manual_seed(5)
    mask_BT = torch.arange(40)[None] < torch.tensor([[0], [1], [7], [23], [40]])
    return torch.rand(5, 40, generator=generator).masked_fill(~mask_BT, 99.0), mask_BT


def archer_parts(name: str) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Log-probabilities, per-token policy loss, k3, class mask and mask of one Archer case."""
    case = CASES[name]
    logprob_BT = (case.given("ratio").log() + case.inputs["old_logp"]).requires_grad_()
    mask_BT = case.given_mask()
    paper = "paper" in name or "padded" in name
    high_BT = above_quantile(case.given("entropy"), mask_BT, quantile=case.inputs["rho"], ties_are_high=paper)
    eps_BT = by_class(
        high_BT, high=case.inputs["eps_high_entropy"], low=case.inputs["eps_low_entropy"], dtype=torch.float64
    )
    ratio_BT = log_ratio(logprob_BT, torch.full_like(logprob_BT, case.inputs["old_logp"])).exp()
    loss_BT = clipped_loss(ratio_BT, case.given("adv")[:, None], eps_low=eps_BT, eps_high=eps_BT)
    k3_BT = kl_k3(logprob_BT, (logprob_BT + case.given("ref_minus_logp")).detach())
    case.assert_close(high_BT, "high_mask")
    case.assert_close(loss_BT.masked_fill(~mask_BT, 0.0), "token_pg_loss")
    case.assert_close(k3_BT, "token_k3")
    return logprob_BT, loss_BT, k3_BT, high_BT, mask_BT


@pytest.mark.parametrize("name", ["archer_paper_bk0.001_br0.0", "archer_paper_bk0.1_br0.02", "archer_fully_padded_row"])
def test_archer_as_printed_is_one_token_mean(name: str) -> None:
    case = CASES[name]
    logprob_BT, loss_BT, k3_BT, high_BT, mask_BT = archer_parts(name)
    beta_BT = by_class(
        high_BT, high=case.inputs["beta_high_entropy"], low=case.inputs["beta_low_entropy"], dtype=torch.float64
    )

    loss = token_mean(loss_BT + beta_BT * k3_BT, mask_BT, num_tokens=int(mask_BT.sum()))
    loss.backward()

    case.assert_close(sequence_quantile(case.given("entropy"), mask_BT, quantile=0.8)[:, 0], "tau")
    case.assert_close(loss, "loss")
    case.assert_close(logprob_BT.grad, "grad")


@pytest.mark.parametrize("name", RELEASED)
def test_archer_as_released_is_three_separate_means(name: str) -> None:
    case = CASES[name]
    logprob_BT, loss_BT, k3_BT, high_BT, mask_BT = archer_parts(name)
    per_sequence = name.startswith("archer_code_microbatch1")

    def mean(values_BT: Tensor, where_BT: Tensor) -> Tensor:
        if per_sequence:
            return sequence_mean_of_token_means(values_BT, where_BT, num_sequences=2)
        return token_mean(values_BT, where_BT, num_tokens=int(where_BT.sum()))

    policy, low, high = mean(loss_BT, mask_BT), mean(k3_BT, mask_BT & ~high_BT), mean(k3_BT, high_BT)
    loss = policy + case.inputs["beta_low_entropy"] * low + case.inputs["beta_high_entropy"] * high
    loss.backward()

    for value, expected in [(policy, "pg"), (low, "kl_low_mean"), (high, "kl_high_mean"), (loss, "loss")]:
        case.assert_close(value, expected)
    case.assert_close(logprob_BT.grad, "grad")


def test_the_only_token_of_a_response_is_undecided_by_the_tie_rule() -> None:
    case = CASES["archer_single_token"]
    entropy_BT, one = case.given("entropy"), torch.ones(1, 1, dtype=torch.bool)

    case.assert_close(sequence_quantile(entropy_BT, one, quantile=0.8).squeeze(), "tau")
    case.assert_close(above_quantile(entropy_BT, one, quantile=0.8, ties_are_high=True), "high_paper")
    case.assert_close(above_quantile(entropy_BT, one, quantile=0.8), "high_code")


def test_a_certain_response_relaxes_every_token_only_under_the_printed_rule() -> None:
    case = CASES["archer_tau_zero_ties"]
    entropy_BT = case.given("entropy")
    mask_BT = torch.ones_like(entropy_BT, dtype=torch.bool)

    case.assert_close(above_quantile(entropy_BT, mask_BT, quantile=0.8, ties_are_high=True).sum(), "high_ge")
    case.assert_close(above_quantile(entropy_BT, mask_BT, quantile=0.8).sum(), "high_gt")


def test_a_calm_response_keeps_its_own_undecided_tokens() -> None:
    case = CASES["archer_response_vs_batch_threshold"]
    entropy_BT = torch.stack([case.given("calm"), case.given("hot")])
    mask_BT = torch.ones_like(entropy_BT, dtype=torch.bool)
    tau = batch_quantile(entropy_BT, mask_BT, quantile=0.8)

    case.assert_close(tau, "batch_tau")
    case.assert_close((entropy_BT[0] > tau).sum(), "batch_high_calm")
    case.assert_close((entropy_BT[1] > tau).sum(), "batch_high_hot")
    case.assert_close(sequence_quantile(entropy_BT, mask_BT, quantile=0.8)[:, 0], "resp_tau")
    case.assert_close(above_quantile(entropy_BT, mask_BT, quantile=0.8).sum(-1), "resp_high")


def test_the_number_of_kept_tokens_is_the_authors() -> None:
    case = CASES["rule8020_topk_count"]

    assert [kept_tokens(n, share=case.inputs["rho"]) for n in case.inputs["n"]] == case.expected["k"]


def test_the_80_20_loss_is_a_mean_over_selected_tokens() -> None:
    case = CASES["rule8020_loss"]
    mask_BT, old = case.given_mask(), case.inputs["old_logp"]
    logprob_BT = (case.given("ratio").log() + old).requires_grad_()
    selected_BT = top_share(case.given("entropy"), mask_BT, share=case.inputs["rho"])
    ratio_BT = log_ratio(logprob_BT, torch.full_like(logprob_BT, old)).exp()

    loss_BT = clipped_loss(ratio_BT, case.given("adv")[:, None], eps_low=0.2, eps_high=0.28)
    loss = token_mean(loss_BT, selected_BT, num_tokens=2)
    loss.backward()

    case.assert_close(selected_BT, "selected")
    case.assert_close(loss_BT.masked_fill(~mask_BT, 0.0), "token_loss")
    case.assert_close(loss, "loss")
    case.assert_close(logprob_BT.grad, "grad")
    case.assert_close(token_mean(loss_BT, selected_BT, num_tokens=9), "trl_dapo_loss")
    case.assert_close(token_mean(loss_BT, mask_BT, num_tokens=9), "vanilla_dapo_loss")
    case.assert_close(batch_quantile(case.given("entropy"), mask_BT, quantile=0.8), "trl_threshold")


def test_the_bottom_80_is_the_complement_within_valid_tokens() -> None:
    case = CASES["rule8020_bottom80"]
    mask_BT = case.given_mask()
    rest_BT = mask_BT & ~top_share(case.given("entropy"), mask_BT, share=case.inputs["rho"])

    loss_BT = clipped_loss(case.given("ratio"), case.given("adv")[:, None], eps_low=0.2, eps_high=0.28)

    case.assert_close(rest_BT, "selected")
    case.assert_close(token_mean(loss_BT, rest_BT, num_tokens=7), "loss")


def test_ties_keep_exactly_the_asked_number_the_first_ones() -> None:
    case = CASES["rule8020_ties"]
    entropy_BT = case.given("entropy")[None]
    mask_BT = torch.ones_like(entropy_BT, dtype=torch.bool)
    threshold = batch_quantile(entropy_BT, mask_BT, quantile=0.8)

    assert top_share(entropy_BT, mask_BT, share=0.2).tolist() == [[True, False, False, False, False]]
    case.assert_close(threshold, "trl_quantile")
    case.assert_close((entropy_BT >= threshold).sum(), "ge_kept")


def test_without_tokens_nothing_is_selected_and_nothing_lost() -> None:
    case = CASES["rule8020_all_masked"]
    selected_BT = top_share(case.given("entropy"), case.given_mask(), share=0.2)

    case.assert_close(selected_BT, "selected")
    case.assert_close(token_mean(case.given("entropy"), selected_BT, num_tokens=0), "loss")


def test_overlap_is_the_shared_part_of_the_first_selection() -> None:
    case = CASES["rule8020_overlap"]
    every = torch.ones(1, 10, dtype=torch.bool)
    a, b = (top_share(case.given(name)[None], every, share=0.2) for name in ("entropy_a", "entropy_b"))

    assert a[0].nonzero().flatten().tolist() == case.expected["top_a"]
    assert b[0].nonzero().flatten().tolist() == case.expected["top_b"]
    case.assert_close(overlap(a, b), "overlap")
    assert overlap(a, a).item() == 1


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 1.0])
def test_selections_never_contain_pads_and_have_the_asked_size(share: float) -> None:
    entropy_BT, mask_BT = random_entropies()

    whole_BT, rows_BT = (
        top_share(entropy_BT, mask_BT, share=share),
        top_share_of_sequence(entropy_BT, mask_BT, share=share),
    )

    assert not (whole_BT & ~mask_BT).any()
    assert not (rows_BT & ~mask_BT).any()
    assert whole_BT.sum() == kept_tokens(71, share=share)
    assert rows_BT.sum(-1).tolist() == [kept_tokens(n, share=share) for n in (0, 1, 7, 23, 40)]


def test_a_selected_token_is_never_more_certain_than_one_left_out() -> None:
    entropy_BT, mask_BT = random_entropies()

    selected_BT = top_share(entropy_BT, mask_BT, share=0.3)

    assert entropy_BT[selected_BT].min() > entropy_BT[mask_BT & ~selected_BT].max()


def test_selecting_everything_is_the_mask_itself() -> None:
    entropy_BT, mask_BT = random_entropies()

    assert torch.equal(top_share(entropy_BT, mask_BT, share=1.0), mask_BT)


def test_quantiles_ignore_padding_and_order_and_equal_torchs() -> None:
    entropy_BT, mask_BT = random_entropies()
    order = torch.randperm(40, generator=torch.Generator().manual_seed(6))

    tau_B1 = sequence_quantile(entropy_BT, mask_BT, quantile=0.37)
    moved_B1 = sequence_quantile(entropy_BT[:, order], mask_BT[:, order], quantile=0.37)

    torch.testing.assert_close(moved_B1, tau_B1, equal_nan=True)
    assert math.isnan(tau_B1[0, 0])
    for row in range(1, 5):
        torch.testing.assert_close(tau_B1[row, 0], entropy_BT[row][mask_BT[row]].quantile(0.37))


def test_percentiles_run_from_the_least_to_the_largest() -> None:
    entropy_BT, mask_BT = random_entropies()

    lowest, median, highest = percentiles(entropy_BT, mask_BT, percents=(0, 50, 100)).tolist()

    assert (lowest, highest) == (entropy_BT[mask_BT].min(), entropy_BT[mask_BT].max())
    assert median == pytest.approx(entropy_BT[mask_BT].quantile(0.5).item())


def test_equal_numbers_for_both_classes_are_plain_grpo() -> None:
    entropy_BT, mask_BT = random_entropies()
    high_BT = above_quantile(entropy_BT, mask_BT, quantile=0.8)

    assert by_class(high_BT, high=0.2, low=0.2).unique().tolist() == pytest.approx([0.2])


def test_quantiles_of_one_token_are_that_token_and_of_none_unknown() -> None:
    entropy_BT, one_BT = torch.tensor([[0.3, 0.9]]), torch.tensor([[False, True]])

    assert percentiles(entropy_BT, one_BT, percents=(0, 50, 100)).tolist() == pytest.approx([0.9] * 3)
    assert percentiles(entropy_BT, ~one_BT & one_BT, percents=(0, 50)).isnan().tolist() == [True, True]
    assert math.isnan(batch_quantile(entropy_BT, one_BT & ~one_BT, quantile=0.5))

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from golden.cases import CASES, Case
from rlvr_trainer.algorithms.advantages import group_normalized
from rlvr_trainer.algorithms.emphasis import max_entropy_weight
from rlvr_trainer.algorithms.losses import (
    asymmetric_loss,
    clipped_loss,
    constant,
    is_clipped,
    is_dual_clipped,
    kl_k1,
    kl_k2,
    kl_k3,
    log_ratio,
    sequence_log_ratio,
    sequence_mean_of_token_means,
    sequence_mean_of_token_sums,
    token_mean,
)

REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "token_mean": lambda loss, mask, total: token_mean(loss, mask, num_tokens=4 * total),
    "means": lambda loss, mask, total: sequence_mean_of_token_means(loss, mask, num_sequences=total),
    "sums": lambda loss, mask, total: sequence_mean_of_token_sums(loss, mask, num_sequences=total),
    "constant": lambda loss, mask, total: constant(loss, mask, num_sequences=total, budget=10),
}


def logprobs(case: Case) -> Tensor:
    """Current log-probabilities that have the case's ratio to its old ones."""
    return (case.given("ratio").log() + case.inputs["old_logp"]).requires_grad_()


def ratio_to_old(case: Case, logprob_BT: Tensor) -> Tensor:
    return log_ratio(logprob_BT, torch.full_like(logprob_BT, case.inputs["old_logp"])).exp()


def random_batch() -> tuple[Tensor, Tensor]:
    """Six sequences of 1 to 6 of 7 tokens: values and mask."""
    values_BT = torch.randn(6, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return values_BT, torch.arange(7)[None] <= torch.arange(6)[:, None]


@pytest.mark.parametrize(("suffix", "dual"), [("", None), ("_dual3", 3.0), ("_dual10", 10.0)])
def test_the_clipped_loss_and_its_gradient_agree_with_the_table(suffix: str, dual: float | None) -> None:
    case = CASES["ppo_clip_table"]
    logprob = case.given("ratio").log().requires_grad_()
    bounds = {"eps_low": case.inputs["clip_low"], "eps_high": case.inputs["clip_high"]}

    loss = clipped_loss(logprob.exp(), case.given("adv"), **bounds, dual_clip=dual)
    loss.sum().backward()

    case.assert_close(loss, "loss" + suffix)
    case.assert_close(logprob.grad, "grad" + suffix)


def test_tokens_called_clipped_are_those_without_gradient() -> None:
    case = CASES["ppo_clip_table"]
    ratio, advantage = case.given("ratio"), case.given("adv")

    stopped = is_clipped(ratio, advantage, eps_low=0.2, eps_high=0.28) | is_dual_clipped(ratio, advantage, dual_clip=3)

    assert stopped.tolist() == [gradient == 0 for gradient in case.expected["grad_dual3"]]


def test_tokens_on_a_bound_or_without_advantage_are_not_called_clipped() -> None:
    ratio, advantage = torch.tensor([1.5, 0.5, 3.0, 9.0, 0.1]), torch.tensor([1.0, -1.0, -1.0, 0.0, 0.0])

    assert not is_clipped(ratio, advantage, eps_low=0.5, eps_high=0.5).any()
    assert not is_dual_clipped(ratio, advantage, dual_clip=3.0).any()


def test_the_dapo_loss_is_a_token_mean_with_clip_higher() -> None:
    case = CASES["dapo_loss"]
    logprob_BT, mask_BT = logprobs(case), case.given_mask()
    bounds = {"eps_low": case.inputs["clip_low"], "eps_high": case.inputs["clip_high"]}

    loss_BT = clipped_loss(ratio_to_old(case, logprob_BT), case.given("adv")[:, None], **bounds)
    loss = token_mean(loss_BT, mask_BT, num_tokens=5)
    loss.backward()

    case.assert_close(loss_BT.masked_fill(~mask_BT, 1.0), "token_loss")
    case.assert_close(loss, "loss")
    case.assert_close(logprob_BT.grad, "grad")


def test_the_grpo_loss_adds_the_kl_inside_each_sequence() -> None:
    case = CASES["grpo_loss_with_kl"]
    logprob_BT, clip = logprobs(case), case.inputs["clip"]
    k3_BT = kl_k3(logprob_BT, (logprob_BT + case.given("ref_minus_logp")).detach())

    loss_BT = clipped_loss(ratio_to_old(case, logprob_BT), case.given("adv")[:, None], eps_low=clip, eps_high=clip)
    loss_BT = loss_BT + case.inputs["beta"] * k3_BT

    case.assert_close(k3_BT, "token_k3")
    case.assert_close(sequence_mean_of_token_means(loss_BT, case.given_mask(), num_sequences=2), "loss")


def test_the_gspo_ratio_belongs_to_the_sequence() -> None:
    case = CASES["gspo_sequence"]
    log_ratio_BT, mask_BT = case.given("log_ratio").requires_grad_(), case.given_mask()
    bounds = {"eps_low": case.inputs["clip_low"], "eps_high": case.inputs["clip_high"]}

    ratio_B1 = sequence_log_ratio(log_ratio_BT, mask_BT).exp()
    loss_B1 = clipped_loss(ratio_B1, case.given("adv")[:, None], **bounds)
    loss = sequence_mean_of_token_means(loss_B1.expand_as(mask_BT), mask_BT, num_sequences=2)
    loss.backward()

    case.assert_close(ratio_B1[:, 0], "s")
    case.assert_close(loss_B1[:, 0], "seq_loss")
    case.assert_close(loss, "loss")
    case.assert_close(log_ratio_BT.grad, "grad")


def test_the_mgpo_loss_is_grpo_with_weighted_groups() -> None:
    case = CASES["mgpo_loss"]
    logprob_BT, clip, rewards_PG = logprobs(case), case.inputs["clip"], case.given("rewards")[None]
    weight_P1 = max_entropy_weight(rewards_PG > 0, strength=case.inputs["lam"])
    advantage_PG = weight_P1 * group_normalized(rewards_PG)

    loss_BT = clipped_loss(ratio_to_old(case, logprob_BT), advantage_PG.T, eps_low=clip, eps_high=clip)
    loss = sequence_mean_of_token_means(loss_BT, case.given_mask(), num_sequences=4)
    loss.backward()

    case.assert_close(weight_P1.squeeze(), "w")
    case.assert_close(advantage_PG[0], "adv")
    case.assert_close(loss, "loss")
    case.assert_close(logprob_BT.grad, "grad")


def test_the_four_reductions_agree_with_the_table() -> None:
    case = CASES["loss_aggregation"]
    loss_BT, mask_BT = case.given("loss"), case.given_mask()

    case.assert_close(token_mean(loss_BT, mask_BT, num_tokens=6), "token_mean")
    case.assert_close(sequence_mean_of_token_means(loss_BT, mask_BT, num_sequences=2), "seq_mean_token_mean")
    case.assert_close(sequence_mean_of_token_sums(loss_BT, mask_BT, num_sequences=2), "seq_mean_token_sum")
    case.assert_close(constant(loss_BT, mask_BT, num_sequences=2, budget=case.inputs["L_max"]), "dr_grpo")


def test_kl_estimators_and_the_gradient_of_k3_agree_with_the_table() -> None:
    case = CASES["kl_estimators"]
    logprob, reference = case.given("logp").requires_grad_(), case.given("ref_logp")

    clamped = kl_k3(logprob, reference)
    clamped.sum().backward()

    case.assert_close(kl_k1(logprob, reference), "k1")
    case.assert_close(kl_k2(logprob, reference), "k2")
    case.assert_close(kl_k3(logprob, reference, ceiling=1e9), "k3_unclamped")
    case.assert_close(clamped, "k3_clamped")
    case.assert_close(logprob.grad, "dk3_dlogp")


def test_aspo_weighs_gains_by_the_inverse_ratio() -> None:
    case = CASES["aspo_positive_gradient"]
    ratio, eps, cap = case.given("ratio").log().requires_grad_(), case.inputs["eps"], case.inputs["cap"]

    asymmetric_loss(ratio, case.given("adv"), eps_low=eps, eps_high=eps, cap=cap).sum().backward()

    case.assert_close(ratio.grad, "dloss_dlogp")


def test_aspo_caps_but_does_not_stop_losses_far_above_the_ratio() -> None:
    ratio = torch.tensor([0.5, 0.9, 2.0, 7.0], dtype=torch.float64).log().requires_grad_()

    asymmetric_loss(ratio, torch.tensor(-1.0), eps_low=0.2, eps_high=0.2).sum().backward()

    assert ratio.grad is not None
    assert ratio.grad.tolist() == pytest.approx([0.0, 0.9, 2.0, 3.0])


def test_archer_bounds_may_differ_from_token_to_token() -> None:
    case = CASES["archer_dual_clip10"]
    logprob, eps = logprobs(case), case.given("eps")

    loss = clipped_loss(
        ratio_to_old(case, logprob), case.given("adv"), eps_low=eps, eps_high=eps, dual_clip=case.inputs["c"]
    )
    loss.sum().backward()

    case.assert_close(loss, "loss")
    case.assert_close(logprob.grad, "grad")


@pytest.mark.parametrize("reduction", REDUCTIONS.values(), ids=REDUCTIONS.keys())
def test_a_reduction_does_not_depend_on_micro_batches_order_or_padding(reduction: Callable[..., Tensor]) -> None:
    loss_BT, mask_BT = random_batch()
    whole = reduction(loss_BT, mask_BT, 6)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    longer_BT = torch.nn.functional.pad(loss_BT.masked_fill(~mask_BT, torch.inf), (0, 3), value=torch.nan)

    parts = [reduction(loss_BT[part], mask_BT[part], 6) for part in order.split(2)]
    padded = reduction(longer_BT, torch.nn.functional.pad(mask_BT, (0, 3)), 6)

    torch.testing.assert_close(torch.stack(parts).sum(), whole)
    torch.testing.assert_close(padded, whole)


@pytest.mark.parametrize("reduction", REDUCTIONS.values(), ids=REDUCTIONS.keys())
def test_an_update_without_tokens_has_no_loss(reduction: Callable[..., Tensor]) -> None:
    assert reduction(torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool), 0).item() == 0


def test_gradients_agree_with_finite_differences() -> None:
    _, mask_BT = random_batch()
    generator = torch.Generator().manual_seed(4)
    logprob_BT, advantage_B1 = -torch.rand(6, 7, generator=generator).double(), torch.randn(6, 1, generator=generator)
    proximal_BT = logprob_BT + 0.3 * torch.randn(6, 7, generator=generator)

    def loss(logprob_BT: Tensor) -> Tensor:
        ratio_BT = log_ratio(logprob_BT, proximal_BT).exp()
        loss_BT = clipped_loss(ratio_BT, advantage_B1.double(), eps_low=0.2, eps_high=0.28, dual_clip=1.5)
        sequence_B1 = sequence_log_ratio(logprob_BT - proximal_BT, mask_BT).exp()
        return sequence_mean_of_token_means(
            loss_BT + sequence_B1 + kl_k3(logprob_BT, proximal_BT), mask_BT, num_sequences=6
        )

    assert torch.autograd.gradcheck(loss, logprob_BT.requires_grad_())


def test_on_policy_the_gradient_is_that_of_reinforce_whatever_the_bounds() -> None:
    logprob_BT = torch.tensor([[-1.0, -2.0], [-0.5, -3.0]], requires_grad=True)
    advantage_B1 = torch.tensor([[2.0], [-1.0]])

    ratio_BT = log_ratio(logprob_BT, logprob_BT.detach()).exp()
    clipped_loss(ratio_BT, advantage_B1, eps_low=0.0, eps_high=0.0, dual_clip=3).sum().backward()

    assert logprob_BT.grad is not None
    assert logprob_BT.grad.tolist() == [[-2.0, -2.0], [1.0, 1.0]]


def test_an_absurd_ratio_stays_finite() -> None:
    loss = clipped_loss(
        log_ratio(torch.tensor(0.0), torch.tensor(-900.0)).exp(), torch.tensor(1.0), eps_low=0.2, eps_high=0.2
    )

    assert loss.item() == pytest.approx(-1.2)


def test_log_ratios_are_bounded_as_in_verl() -> None:
    apart = torch.tensor([[900.0, -900.0, 3.0]])

    assert log_ratio(apart, torch.zeros(1, 3)).tolist() == [[20.0, -20.0, 3.0]]
    assert sequence_log_ratio(torch.tensor([[15.0], [-15.0], [10.5]]), torch.ones(3, 1, dtype=torch.bool)).tolist() == [
        [10.0],
        [-15.0],
        [10.0],
    ]


def test_k3_is_bounded_in_its_argument_and_in_its_value() -> None:
    far = torch.tensor([25.0, -25.0], dtype=torch.float64)

    assert kl_k3(torch.zeros(2).double(), far).tolist() == [10.0, 10.0]
    assert kl_k3(torch.zeros(2).double(), far, ceiling=1e12).tolist() == pytest.approx(
        [math.exp(20) - 21, math.exp(-20) + 19]
    )


def test_a_ratio_exactly_on_a_bound_keeps_its_gradient() -> None:
    ratio = torch.tensor([1.28, 0.8, 3.0], dtype=torch.float64, requires_grad=True)
    advantage = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)

    clipped_loss(ratio, advantage, eps_low=0.2, eps_high=0.28, dual_clip=3.0).sum().backward()

    assert ratio.grad is not None
    assert ratio.grad.tolist() == [-1.0, 1.0, 1.0]


def test_asymmetric_weights_have_the_size_of_the_ratio_and_no_slope_of_their_own() -> None:
    log_ratio_B = torch.tensor([0.5, 1.0, 1.1, 4.0, 0.1], dtype=torch.float64).log().requires_grad_()
    advantage_B = torch.tensor([2.0, 2.0, -2.0, -2.0, 2.0], dtype=torch.float64)

    loss_B = asymmetric_loss(log_ratio_B, advantage_B, eps_low=0.2, eps_high=0.2)
    loss_B.sum().backward()

    assert loss_B.tolist() == pytest.approx([-4.0, -2.0, 2.2, 6.0, -6.0])
    assert log_ratio_B.grad is not None
    assert log_ratio_B.grad.tolist() == pytest.approx(loss_B.tolist())


@pytest.mark.parametrize("reduction", REDUCTIONS.values(), ids=REDUCTIONS.keys())
def test_the_mean_of_a_single_token_is_that_token(reduction: Callable[..., Tensor]) -> None:
    loss_BT, mask_BT = torch.tensor([[3.0, 9.0]]), torch.tensor([[True, False]])
    unit = {REDUCTIONS["token_mean"]: 4.0, REDUCTIONS["constant"]: 10.0}.get(reduction, 1.0)

    assert reduction(loss_BT, mask_BT, 1).item() * unit == pytest.approx(3.0)
    assert token_mean(loss_BT, mask_BT, num_tokens=1).item() == 3.0

"""The laws of the methods, on batches that a seed makes: what must be equal, what must not matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import pad

from opinions import a_recipe, gradient, on_ranks, random_answers, random_tokens, rows_of, totals_of
from rlvr_trainer.algorithms.advantages import centered, group_normalized, leave_one_out
from rlvr_trainer.algorithms.emphasis import max_entropy_deviation, weight_of_accuracy
from rlvr_trainer.algorithms.entropy import batch_quantile, percentiles, top_share
from rlvr_trainer.algorithms.losses import kl_k2, kl_k3
from rlvr_trainer.algorithms.objective import Tokens
from rlvr_trainer.algorithms.ranking import Share
from rlvr_trainer.algorithms.recipe import Choice, Recipe

LASER_D = {"easy": 30, "medium": 60, "hard": 110}
RELEASED = {"klNormalization": "classes", "klHighEntropy": 0.02, "klLowEntropy": 0.1}
METHODS: dict[str, dict[str, Any]] = {
    **{
        name: {"preset": name}
        for name in ("grpo", "dapo", "drGrpo", "gspo", "highEntropy20", "archer", "laser", "mgpo")
    },
    "k2": {"preset": "grpo", "kl": {"estimator": "k2"}},
    "tokenSums": {"preset": "grpo", "reduction": "sequenceTokenSum"},
    "dividedByAll": {"preset": "highEntropy20", "tokenSelection": {"topEntropy": {"denominator": "all"}}},
    "archerReleased": {"preset": "archer", "trustRegion": {"archer": RELEASED}},
    "archerPerSequence": {
        "preset": "archer",
        "trustRegion": {"archer": {**RELEASED, "entropySource": "update"}},
        "reduction": "sequenceTokenMean",
    },
    "aspo": {"preset": "archer", "trustRegion": {"aspo": {}, "dualClip": 0.0}},
}
seeds = st.integers(0, 10**6)
patient = settings(deadline=None, max_examples=min(15, settings().max_examples))


def a_method(name: str, **more: Any) -> Recipe:
    return a_recipe(**{"max_tokens": 9000, **METHODS[name], **more})


def both(recipe: Recipe, tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Loss and gradient."""
    loss = recipe.loss(tokens, totals_of(tokens))
    return loss.total, gradient(loss, tokens)


# --- identities -------------------------------------------------------------------------------------------------------


@patient
@given(seeds)
def test_keeping_every_token_is_dapo(seed: int) -> None:
    every, dapo = a_recipe("highEntropy20", tokenSelection={"topEntropy": {"fraction": 1.0}}), a_recipe("dapo")
    tokens = random_tokens(every, seed=seed)

    assert torch.equal(tokens.selected_MT, tokens.mask_MT)
    for ours, theirs in zip(both(every, tokens), both(dapo, tokens), strict=True):
        assert torch.equal(ours, theirs)


@patient
@given(seeds, st.floats(0, 0.9), st.floats(0, 1), st.sampled_from(["start", "update"]))
def test_archer_with_equal_classes_is_grpo_with_a_token_mean_and_kl(
    seed: int, eps: float, beta: float, source: str
) -> None:
    same = {"clipHighEntropy": eps, "clipLowEntropy": eps, "klHighEntropy": beta, "klLowEntropy": beta}
    archer = a_recipe("archer", trustRegion={"archer": {**same, "entropySource": source}, "dualClip": 0.0})
    grpo = a_recipe(
        "grpo", reduction="tokenMean", kl={"coefficient": beta}, trustRegion={"clipLow": eps, "clipHigh": eps}
    )
    tokens = random_tokens(archer, seed=seed)

    for ours, theirs in zip(both(archer, tokens), both(grpo, tokens), strict=True):
        torch.testing.assert_close(ours, theirs)


@patient
@given(seeds, st.floats(0.1, 0.9))
def test_mgpo_without_strength_is_grpo(seed: int, center: float) -> None:
    flat, grpo = a_recipe("mgpo", emphasis={"mgpo": {"strength": 0.0, "center": center}}), a_recipe("grpo")
    answers = random_answers(seed)
    rewards_PG = grpo.rewards(answers, 1)

    assert torch.equal(flat.advantages(rewards_PG, answers.correct_PG), grpo.advantages(rewards_PG, answers.correct_PG))


@pytest.mark.parametrize(
    "spec",
    [
        {"laser": {"alpha": 0.0, "targetTokens": 50}},
        {"laserD": {"alpha": 0.0}},
        {"laserDE": {"alpha": 0.0}},
        {"efficient": {"alpha": 0.0}},
        {"efficient": {"alpha": 0.0, "form": "released"}},
        {"kimi": {"coefficient": 0.0}},
        {"l1Exact": {"alpha": 0.0, "targetTokens": 50}},
        {"longToShort": {"strength": 0.0}},
        {"truncation": {"targetTokens": 10_000}},
    ],
    ids=lambda spec: next(iter(spec)),
)
@patient
@given(seed=seeds)
def test_a_length_reward_without_weight_is_the_base_reward(spec: dict[str, Any], seed: int) -> None:
    worth = {"correct": 1.0, "wrong": -0.5, "malformed": -1.0, "truncated": -1.0}
    answers = random_answers(seed)

    base_PG = a_recipe("drGrpo", outcomeReward=worth).rewards(answers, 1)
    shaped_PG = a_recipe("drGrpo", outcomeReward=worth, lengthReward=spec).rewards(answers, 1, LASER_D)

    assert torch.equal(shaped_PG, base_PG)


@patient
@given(seeds)
def test_a_sequence_ratio_of_single_tokens_is_a_token_ratio(seed: int) -> None:
    gspo, grpo = (
        a_recipe("gspo", trustRegion={"clipLow": 0.2, "clipHigh": 0.2}),
        a_recipe("grpo", kl={"coefficient": 0.0}),
    )
    tokens = random_tokens(gspo, seed=seed, width=1)

    for ours, theirs in zip(both(gspo, tokens), both(grpo, tokens), strict=True):
        torch.testing.assert_close(ours, theirs)


@patient
@given(seeds)
def test_laser_d_with_one_target_for_all_is_laser(seed: int) -> None:
    answers = random_answers(seed)

    by_difficulty_PG = a_recipe("laserD").rewards(answers, 1, dict.fromkeys(LASER_D, 77))

    assert torch.equal(
        by_difficulty_PG, a_recipe("laser", lengthReward={"laser": {"targetTokens": 77}}).rewards(answers, 1)
    )


# --- what must not matter ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
@patient
@given(seed=seeds, cut=st.integers(1, 5))
def test_how_rows_are_ordered_and_cut_into_passes_changes_nothing(name: str, seed: int, cut: int) -> None:
    recipe = a_method(name, entropyBonus={"coefficient": 0.01})
    tokens = random_tokens(recipe, seed=seed)
    totals, order = totals_of(tokens), torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    whole = recipe.loss(tokens, totals)

    parts = [recipe.loss(rows_of(tokens, rows), totals) for rows in (order[:cut], order[cut:])]
    (grad_MT,) = torch.autograd.grad(sum(part.total for part in parts), tokens.logprob_MT)

    torch.testing.assert_close(sum(part.total for part in parts), whole.total)
    torch.testing.assert_close(grad_MT, gradient(whole, tokens))
    assert sum(int(part.num_clipped) for part in parts) == whole.num_clipped
    assert sum(int(part.num_dual_clipped) for part in parts) == whole.num_dual_clipped


@pytest.mark.parametrize("filling", [float("nan"), float("inf"), -1e30, 7.0])
@pytest.mark.parametrize("name", METHODS)
def test_what_stands_at_pads_changes_nothing(name: str, filling: float) -> None:
    recipe = a_method(name, entropyBonus={"coefficient": 0.01})
    tokens = random_tokens(recipe, seed=3)
    plain = recipe.loss(tokens, totals_of(tokens))

    def padded(values_MT: Tensor) -> Tensor:
        filled_MT = values_MT.detach().masked_fill(~tokens.mask_MT, filling)
        return pad(filled_MT, (0, 4), value=filling).requires_grad_()

    entropy_MT, mask_MT = padded(tokens.entropy_MT), pad(tokens.mask_MT, (0, 4))
    choice = recipe.choose(entropy_MT, mask_MT)
    assert tokens.reference_MT is not None
    longer = Tokens(
        logprob_MT=padded(tokens.logprob_MT),
        entropy_MT=entropy_MT,
        proximal_MT=padded(tokens.proximal_MT),
        reference_MT=padded(tokens.reference_MT),
        advantage_M1=tokens.advantage_M1,
        weight_MT=padded(tokens.weight_MT),
        mask_MT=mask_MT,
        selected_MT=choice.selected_BT,
        uncertain_MT=choice.uncertain_BT,
    )
    loss = recipe.loss(longer, totals_of(longer))
    grads = torch.autograd.grad(loss.total, (longer.logprob_MT, longer.entropy_MT))
    wanted = torch.autograd.grad(plain.total, (tokens.logprob_MT, tokens.entropy_MT))

    torch.testing.assert_close(loss.total, plain.total)
    for grad_MT, wanted_MT in zip(grads, wanted, strict=True):
        torch.testing.assert_close(grad_MT, pad(wanted_MT, (0, 4)))


@pytest.mark.parametrize("method", ["exact", "quantile"])
@pytest.mark.parametrize("scope", ["batch", "sequence"])
@patient
@given(seed=seeds, ranks=st.sampled_from([1, 2, 4]), width=st.integers(9, 13))
def test_ranks_and_padding_choose_the_same_tokens(method: str, scope: str, seed: int, ranks: int, width: int) -> None:
    recipe = a_recipe("highEntropy20", tokenSelection={"topEntropy": {"method": method, "scope": scope}})
    generator = torch.Generator().manual_seed(seed)
    entropy_BT = torch.rand(8, 9, generator=generator).mul(6).round().div(6)
    mask_BT = torch.arange(9)[None] < torch.randint(0, 10, (8, 1), generator=generator)
    places = list(torch.randperm(8, generator=generator).chunk(ranks))
    whole_BT = recipe.choose(entropy_BT, mask_BT).selected_BT

    def work(rank: int, share: Share) -> Choice:
        rows_B = places[rank]
        padding = (0, width - 9)
        return recipe.choose(pad(entropy_BT[rows_B], padding, value=9.0), pad(mask_BT[rows_B], padding), of=share)

    for rows_B, choice in zip(places, on_ranks(places, work), strict=True):
        assert torch.equal(choice.selected_BT[:, :9], whole_BT[rows_B])
        assert not choice.selected_BT[:, 9:].any()


def test_a_threshold_per_micro_batch_asks_no_other_rank() -> None:
    def refuse(_: Tensor) -> Tensor:
        raise AssertionError("another rank was asked")

    for method in ("exact", "quantile"):
        spec = {"topEntropy": {"method": method, "scope": "microbatch"}}
        choice = a_recipe("highEntropy20", tokenSelection=spec).choose(
            torch.rand(2, 5), torch.ones(2, 5, dtype=torch.bool), of=Share(add=refuse)
        )
        assert choice.selected_BT.sum() == 2


@patient
@given(seeds, st.sampled_from([2, 3]))
def test_ranks_agree_about_percentiles(seed: int, ranks: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    entropy_BT, mask_BT = torch.rand(7, 6, generator=generator), torch.rand(7, 6, generator=generator) < 0.7
    places = list(torch.arange(7).chunk(ranks))
    whole_Q = percentiles(entropy_BT, mask_BT, percents=(0, 33, 50, 100))

    def work(rank: int, share: Share) -> Tensor:
        return percentiles(entropy_BT[places[rank]], mask_BT[places[rank]], percents=(0, 33, 50, 100), of=share)

    for found_Q in on_ranks(places, work):
        torch.testing.assert_close(found_Q, whole_Q, rtol=0, atol=0, equal_nan=True)


@patient
@given(seeds, st.floats(0, 1))
def test_a_batch_quantile_is_torchs(seed: int, quantile: float) -> None:
    entropy_BT = torch.rand(4, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    mask_BT = entropy_BT < 0.8
    mask_BT[0, 0] = True

    found = batch_quantile(entropy_BT, mask_BT, quantile=quantile)

    torch.testing.assert_close(found, entropy_BT[mask_BT].quantile(quantile))


@pytest.mark.parametrize("advantage", [group_normalized, centered, leave_one_out])
@patient
@given(seed=seeds, shift=st.floats(-5, 5), scale=st.floats(0.5, 4))
def test_advantages_ignore_where_rewards_start_and_know_their_unit(
    advantage: Callable[[Tensor], Tensor], seed: int, shift: float, scale: float
) -> None:
    rewards_PG = torch.rand(3, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    unit = 1.0 if advantage is group_normalized else scale

    torch.testing.assert_close(
        advantage(scale * rewards_PG + shift), unit * advantage(rewards_PG), rtol=1e-4, atol=1e-9
    )


# --- gradients and signs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in METHODS if name != "aspo"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_gradients_agree_with_finite_differences(name: str, seed: int) -> None:
    recipe = a_method(name, entropyBonus={"coefficient": 0.01})
    tokens = random_tokens(recipe, seed=seed, rows=4, width=5)

    def total(logprob_MT: Tensor, entropy_MT: Tensor) -> Tensor:
        fixed = replace(recipe, objective=replace(recipe.objective, reclassify=None))
        changed = replace(tokens, logprob_MT=logprob_MT, entropy_MT=entropy_MT)
        return fixed.loss(changed, totals_of(tokens)).total

    assert torch.autograd.gradcheck(total, (tokens.logprob_MT, tokens.entropy_MT))


@patient
@given(st.floats(-30, 30), st.floats(-30, 0))
def test_k2_and_k3_are_never_negative_and_zero_where_both_agree(logprob: float, reference: float) -> None:
    ours, theirs = torch.tensor(logprob).double(), torch.tensor(reference).double()

    assert kl_k3(ours, theirs) >= 0
    assert kl_k2(ours, theirs) >= 0
    assert kl_k3(ours, ours) == kl_k2(ours, ours) == 0
    assert kl_k3(ours, theirs).isfinite()


@patient
@given(st.floats(0, 1), st.floats(0.01, 0.99), st.floats(0, 10))
def test_emphasis_is_a_share_and_largest_at_the_center(accuracy: float, center: float, strength: float) -> None:
    share = torch.tensor(accuracy).double()

    assert max_entropy_deviation(share, center=center) >= -1e-15
    weight = weight_of_accuracy(share, strength=strength, center=center)
    assert 0 < weight <= weight_of_accuracy(torch.tensor(center).double(), strength=strength, center=center) + 1e-12


@patient
@given(st.floats(0, 1), st.floats(0, 5))
def test_at_one_half_emphasis_is_bernoulli_entropy(accuracy: float, strength: float) -> None:
    share = torch.tensor(accuracy).double()
    entropy = -torch.xlogy(share, share) - torch.xlogy(1 - share, 1 - share)

    torch.testing.assert_close(weight_of_accuracy(share, strength=strength), 2**-strength * (strength * entropy).exp())


@patient
@given(seeds, st.floats(0.01, 1))
def test_no_token_left_out_is_less_certain_than_a_chosen_one(seed: int, share: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    entropy_BT, mask_BT = torch.rand(3, 6, generator=generator), torch.rand(3, 6, generator=generator) < 0.8

    chosen_BT = top_share(entropy_BT, mask_BT, share=share)

    left_BT = mask_BT & ~chosen_BT
    if left_BT.any():
        assert entropy_BT[chosen_BT].min() >= entropy_BT[left_BT].max()

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from golden.cases import CASES, Case
from rlvr_api.algorithm import AlgorithmSpec
from rlvr_api.recipe import resolve
from rlvr_trainer.algorithms.objective import Loss, Tokens, Totals
from rlvr_trainer.algorithms.recipe import Recipe, build
from rlvr_trainer.algorithms.rewards import Answers
from rlvr_trainer.errors import InvalidInput

TRAINABLE = ["grpo", "dapo", "drGrpo", "gspo", "highEntropy20", "archer", "laser", "mgpo"]


def a_recipe(preset: str, *, max_tokens: int = 20480, **overrides: Any) -> Recipe:
    return build(resolve(AlgorithmSpec.model_validate({"preset": preset, **overrides})), max_tokens=max_tokens)


def some_answers(
    correct: list[list[int]], lengths: list[list[float]], malformed: list[list[int]] | None = None
) -> Answers:
    correct_PG = torch.tensor(correct, dtype=torch.bool)
    malformed_PG = torch.tensor(malformed or torch.zeros_like(correct_PG).tolist(), dtype=torch.bool)
    return Answers(
        score_PG=correct_PG.double(),
        correct_PG=correct_PG,
        malformed_PG=malformed_PG,
        truncated_PG=torch.zeros_like(correct_PG),
        lengths_PG=torch.tensor(lengths),
    )


def tokens_of(case: Case, recipe: Recipe) -> Tokens:
    """The tokens of a golden case, chosen as the recipe says."""
    mask_MT, ratio_MT = case.given_mask(), case.given("ratio")
    logprob_MT = (ratio_MT.log() + case.inputs["old_logp"]).requires_grad_()
    entropy_MT = case.given("entropy") if "entropy" in case.inputs else torch.ones_like(ratio_MT)
    gap_MT = case.given("ref_minus_logp") if "ref_minus_logp" in case.inputs else torch.zeros_like(ratio_MT)
    choice = recipe.choose(entropy_MT, mask_MT)
    return Tokens(
        logprob_MT=logprob_MT,
        entropy_MT=entropy_MT,
        proximal_MT=torch.full_like(ratio_MT, case.inputs["old_logp"]),
        reference_MT=(logprob_MT + gap_MT).detach(),
        advantage_M1=case.given("adv")[:, None] if "adv" in case.inputs else torch.ones(len(ratio_MT), 1).double(),
        weight_MT=torch.ones_like(ratio_MT),
        mask_MT=mask_MT,
        selected_MT=choice.selected_BT,
        uncertain_MT=choice.uncertain_BT,
    )


def totals_of(tokens: Tokens) -> Totals:
    return Totals(
        num_sequences=len(tokens.mask_MT),
        num_tokens=int(tokens.mask_MT.sum()),
        num_selected=int(tokens.selected_MT.sum()),
    )


def random_tokens(recipe: Recipe) -> Tokens:
    """Six sequences of 1 to 9 tokens, off-policy, with every term at work."""
    generator = torch.Generator().manual_seed(9)
    noise = torch.rand(4, 6, 9, generator=generator, dtype=torch.float64)
    mask_MT = torch.arange(9)[None] <= torch.tensor([0, 3, 8, 5, 2, 7])[:, None]
    choice = recipe.choose(noise[3], mask_MT)
    return Tokens(
        logprob_MT=(-noise[0]).requires_grad_(),
        entropy_MT=noise[3].clone().requires_grad_(),
        proximal_MT=-noise[0] + 0.5 * (noise[1] - 0.5),
        reference_MT=-noise[2],
        advantage_M1=torch.tensor([[1.0], [-0.5], [0.3], [-2.0], [0.7], [0.0]], dtype=torch.float64),
        weight_MT=0.5 + noise[2],
        mask_MT=mask_MT,
        selected_MT=choice.selected_BT,
        uncertain_MT=choice.uncertain_BT,
    )


def gradient(loss: Loss, tokens: Tokens) -> Tensor:
    (grad_MT,) = torch.autograd.grad(loss.total, tokens.logprob_MT)
    return grad_MT


GOLDEN: dict[str, tuple[str, dict[str, Any]]] = {
    "grpo_loss_with_kl": ("grpo", {}),
    "dapo_loss": ("dapo", {}),
    "rule8020_loss": ("highEntropy20", {}),
    "archer_paper_bk0.001_br0.0": ("archer", {"trustRegion": {"archer": {"ties": "high"}}}),
    "archer_fully_padded_row": ("archer", {"trustRegion": {"archer": {"ties": "high"}}}),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_preset_computes_its_papers_loss(name: str) -> None:
    preset, overrides = GOLDEN[name]
    case, recipe = CASES[name], a_recipe(preset, **overrides)
    tokens = tokens_of(case, recipe)

    loss = recipe.loss(tokens, totals_of(tokens))

    case.assert_close(loss.total, "loss")
    if "grad" in case.expected:
        case.assert_close(gradient(loss, tokens), "grad")


def test_the_gspo_preset_clips_whole_sequences() -> None:
    case, recipe = CASES["gspo_sequence"], a_recipe("gspo")
    inputs = {**case.inputs, "ratio": case.given("log_ratio").exp().tolist(), "old_logp": -1.0}
    tokens = tokens_of(replace(case, inputs=inputs), recipe)

    loss = recipe.loss(tokens, totals_of(tokens))

    case.assert_close(loss.total, "loss")
    case.assert_close(gradient(loss, tokens), "grad")
    assert loss.num_clipped == 2


def test_the_mgpo_preset_weighs_the_group() -> None:
    case, recipe = CASES["mgpo_loss"], a_recipe("mgpo", trustRegion={"clipHigh": 0.2})
    answers = some_answers([case.inputs["rewards"]], [[9.0, 9.0, 9.0, 9.0]])

    advantage_PG = recipe.advantages(recipe.rewards(answers, 1), answers.correct_PG)
    tokens = replace(tokens_of(case, recipe), advantage_M1=advantage_PG.T)
    loss = recipe.loss(tokens, totals_of(tokens))

    case.assert_close(advantage_PG[0], "adv")
    case.assert_close(loss.total, "loss")
    case.assert_close(gradient(loss, tokens), "grad")


def test_the_dapo_preset_punishes_overlong_answers_before_the_advantage() -> None:
    case, recipe = CASES["dapo_end_to_end_adv"], a_recipe("dapo")
    right = [[int(reward > 0) for reward in case.inputs["correct_reward"]]]
    answers = some_answers(right, [case.inputs["lengths"]])

    rewards_PG = recipe.rewards(answers, 1)

    case.assert_close(rewards_PG[0], "total_reward")
    case.assert_close(recipe.advantages(rewards_PG, answers.correct_PG)[0], "adv")


def test_the_laser_preset_rewards_short_correct_answers() -> None:
    case, recipe = CASES["laser_reward_zoo"], a_recipe("laser", lengthReward={"laser": {"targetTokens": 4096}})

    reward_PG = recipe.rewards(some_answers([case.inputs["correct"]], [case.inputs["lengths"]]), 1)

    case.assert_close(reward_PG[0], "laser")


def test_the_dr_grpo_preset_knows_neither_deviation_nor_length() -> None:
    recipe = a_recipe("drGrpo", max_tokens=10)
    case = CASES["loss_aggregation"]
    mask_MT = case.given_mask()
    tokens = replace(random_tokens(recipe), mask_MT=mask_MT, selected_MT=mask_MT, uncertain_MT=mask_MT)
    ones_MT = torch.ones_like(case.given("loss"))
    tokens = replace(
        tokens, logprob_MT=ones_MT, proximal_MT=ones_MT, weight_MT=-case.given("loss"), advantage_M1=ones_MT[:, :1]
    )

    case.assert_close(recipe.loss(tokens, totals_of(tokens)).total, "dr_grpo")
    assert recipe.advantages(torch.tensor([[1.0, 0.0]]), torch.tensor([[True, False]])).tolist() == [[0.5, -0.5]]


@pytest.mark.parametrize("preset", TRAINABLE)
def test_the_loss_does_not_depend_on_micro_batches(preset: str) -> None:
    recipe = a_recipe(preset, max_tokens=9000, entropyBonus={"coefficient": 0.01})
    tokens = random_tokens(recipe)
    totals = totals_of(tokens)
    whole = recipe.loss(tokens, totals)

    parts = []
    for rows in (slice(0, 2), slice(2, 5), slice(5, 6)):
        fields = {name: getattr(tokens, name)[rows] for name in Tokens.__dataclass_fields__}
        parts.append(recipe.loss(Tokens(**fields), totals))

    torch.testing.assert_close(sum(part.total for part in parts), whole.total)
    assert sum(int(part.num_clipped) for part in parts) == whole.num_clipped


@pytest.mark.parametrize("preset", TRAINABLE)
def test_gradients_of_a_preset_agree_with_finite_differences(preset: str) -> None:
    recipe = a_recipe(preset, max_tokens=9000)
    tokens = random_tokens(recipe)

    def total(logprob_MT: Tensor) -> Tensor:
        return recipe.loss(replace(tokens, logprob_MT=logprob_MT), totals_of(tokens)).total

    assert torch.autograd.gradcheck(total, tokens.logprob_MT)


def test_keeping_every_token_is_dapo() -> None:
    every, dapo = a_recipe("highEntropy20", tokenSelection={"topEntropy": {"fraction": 1.0}}), a_recipe("dapo")
    tokens = random_tokens(every)

    assert torch.equal(
        gradient(every.loss(tokens, totals_of(tokens)), tokens), gradient(dapo.loss(tokens, totals_of(tokens)), tokens)
    )


def test_archer_with_equal_classes_is_grpo_with_a_token_mean() -> None:
    same = {"clipHighEntropy": 0.2, "clipLowEntropy": 0.2, "klHighEntropy": 0.04, "klLowEntropy": 0.04}
    archer = a_recipe("archer", trustRegion={"archer": same, "dualClip": 0.0})
    tokens = random_tokens(archer)
    grpo = a_recipe("grpo", reduction="tokenMean")

    assert tokens.uncertain_MT.any()
    assert torch.equal(
        gradient(archer.loss(tokens, totals_of(tokens)), tokens), gradient(grpo.loss(tokens, totals_of(tokens)), tokens)
    )


def test_mgpo_without_strength_is_the_plain_advantage() -> None:
    flat, grpo = a_recipe("mgpo", emphasis={"mgpo": {"strength": 0.0}}), a_recipe("grpo")
    answers = some_answers([[1, 0, 0, 1], [1, 0, 0, 0]], [[9.0] * 4] * 2)
    rewards_PG = grpo.rewards(answers, 1)

    assert torch.equal(flat.advantages(rewards_PG, answers.correct_PG), grpo.advantages(rewards_PG, answers.correct_PG))


def test_dividing_by_all_tokens_makes_the_step_smaller_by_the_selected_share() -> None:
    case = CASES["rule8020_loss"]
    recipe = a_recipe("highEntropy20", tokenSelection={"topEntropy": {"denominator": "all", "method": "quantile"}})
    tokens = tokens_of(case, recipe)

    case.assert_close(recipe.loss(tokens, totals_of(tokens)).total, "trl_dapo_loss")
    case.assert_close(tokens.selected_MT, "trl_selected")


@pytest.mark.parametrize(("method", "kept"), [("exact", 1), ("quantile", 3)])
def test_ties_at_the_threshold_are_cut_or_kept_as_the_manifest_says(method: str, kept: int) -> None:
    entropy_BT = CASES["rule8020_ties"].given("entropy")[None]
    recipe = a_recipe("highEntropy20", tokenSelection={"topEntropy": {"method": method}})

    assert recipe.choose(entropy_BT, torch.ones(1, 5, dtype=torch.bool)).selected_BT.sum() == kept


@pytest.mark.parametrize("method", ["exact", "quantile"])
def test_a_selection_per_sequence_keeps_some_of_each(method: str) -> None:
    recipe = a_recipe("highEntropy20", tokenSelection={"topEntropy": {"scope": "sequence", "method": method}})

    selected_MT = random_tokens(recipe).selected_MT

    assert recipe.choice_scope == "sequence"
    assert selected_MT.any(-1).all()


def test_importance_weights_are_made_only_on_request() -> None:
    mismatch_BT, mask_BT = torch.tensor([[0.0, 5.0, -0.1]]), torch.tensor([[True, True, False]])
    recipe = a_recipe("dapo", importanceSampling={"mode": "truncate"})

    assert a_recipe("dapo").importance_weights is None
    assert recipe.importance_weights is not None
    assert recipe.importance_weights(mismatch_BT, mask_BT).tolist() == [[1.0, 2.0, 0.0]]


def test_the_reference_and_entropies_are_asked_for_only_when_used() -> None:
    assert {name for name in TRAINABLE if a_recipe(name).needs_reference} == {"grpo", "archer", "laser"}
    assert {name for name in TRAINABLE if a_recipe(name).needs_entropy} == {"highEntropy20", "archer"}
    assert {name for name in TRAINABLE if a_recipe(name).has_entropy_bonus} == {"laser"}


def test_a_loss_without_a_kl_term_reports_none() -> None:
    dapo, grpo = a_recipe("dapo"), a_recipe("grpo")
    tokens = random_tokens(dapo)

    assert dapo.loss(replace(tokens, reference_MT=None), totals_of(tokens)).kl_nats is None
    with pytest.raises(AssertionError, match="no reference"):
        grpo.loss(replace(tokens, reference_MT=None), totals_of(tokens))


def test_the_entropy_bonus_pushes_entropies_up() -> None:
    recipe = a_recipe("dapo", entropyBonus={"coefficient": 0.5})
    tokens = random_tokens(recipe)

    (grad_MT,) = torch.autograd.grad(recipe.loss(tokens, totals_of(tokens)).total, tokens.entropy_MT)

    torch.testing.assert_close(grad_MT, -0.5 / 31 * tokens.mask_MT.double())


def test_aspo_replaces_the_clipped_ratio() -> None:
    recipe = a_recipe("dapo", trustRegion={"aspo": {}, "dualClip": 0.0, "clipHigh": 0.2})
    case = CASES["dapo_loss"]
    tokens = tokens_of(case, recipe)

    grad_MT = gradient(recipe.loss(tokens, totals_of(tokens)), tokens)

    expected = [[-1.0, 0.0, -1 / 0.7], [1.2, 0.0, 0.0]]
    torch.testing.assert_close(grad_MT, torch.tensor(expected, dtype=torch.float64) / 5)


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"truncation": {"targetTokens": 40}}, [[1.0, 0.0, 0.0, 0.0]]),
        ({"thinkPrune": {"targetTokens": [95, 40], "stageSteps": 3}}, [[1.0, 0.0, 0.0, 0.0]]),
        ({"kimi": {}}, [[1.5, 1.0, 0.0, -0.5]]),
        ({"l1Exact": {"targetTokens": 50, "alpha": 0.01}}, [[0.6, 1.0, -0.2, -0.4]]),
        ({"l1Max": {"targetTokens": 50, "alpha": 0.01}}, [[0.9, 0.5, 0.0, 0.0]]),
        ({"longToShort": {}}, [[1.2, 0.8, 0.0, 0.0]]),
        ({"laser": {"targetTokens": 49}}, [[1.5, 1.0, 0.0, 0.0]]),
    ],
)
def test_every_length_reward_reaches_the_recipe(spec: dict[str, Any], wanted: list[list[float]]) -> None:
    recipe = a_recipe("drGrpo", max_tokens=100, lengthReward=spec)
    answers = some_answers([[1, 1, 0, 0]], [[10.0, 50.0, 30.0, 90.0]])

    torch.testing.assert_close(recipe.rewards(answers, 4), torch.tensor(wanted), check_dtype=False)


def test_efficiency_punishes_the_longer_of_two_correct_answers() -> None:
    recipe = a_recipe("drGrpo", lengthReward={"efficient": {}})

    short, long, wrong = recipe.rewards(some_answers([[1, 1, 0]], [[10.0, 50.0, 5.0]]), 1)[0].tolist()

    assert short > long > wrong == 0


@pytest.mark.parametrize(("step", "target"), [(1, 95), (3, 95), (4, 40), (6, 40), (700, 40)])
def test_think_prune_shrinks_its_target_in_stages(step: int, target: int) -> None:
    recipe = a_recipe("drGrpo", lengthReward={"thinkPrune": {"targetTokens": [95, 40], "stageSteps": 3}})

    reward_PG = recipe.rewards(some_answers([[1, 1]], [[target, target + 1]]), step)

    assert reward_PG.tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize(
    ("preset", "overrides", "name"),
    [
        ("laserD", {}, "laserD"),
        ("laserDE", {}, "laserDE"),
        ("grpo", {"lengthReward": {"o1Pruner": {"accuracyWeight": 2.0, "completions": 4}}}, "o1Pruner"),
    ],
)
def test_rewards_that_need_other_completions_are_refused_with_a_way_out(
    preset: str, overrides: dict[str, Any], name: str
) -> None:
    with pytest.raises(InvalidInput, match=f"lengthReward.{name} needs .* use algorithm.lengthReward.laser"):
        a_recipe(preset, **overrides)

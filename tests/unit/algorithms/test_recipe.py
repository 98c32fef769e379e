from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from golden.cases import CASES, Case
from opinions import a_recipe, gradient, random_tokens, some_answers, totals_of
from rlvr_trainer.algorithms.objective import Tokens
from rlvr_trainer.algorithms.recipe import Recipe

TRAINABLE = ["grpo", "dapo", "drGrpo", "gspo", "highEntropy20", "archer", "laser", "mgpo"]


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
        tokens,
        logprob_MT=ones_MT,
        entropy_MT=ones_MT,
        proximal_MT=ones_MT,
        reference_MT=None,
        weight_MT=-case.given("loss"),
        advantage_M1=ones_MT[:, :1],
    )

    case.assert_close(recipe.loss(tokens, totals_of(tokens)).total, "dr_grpo")
    assert recipe.advantages(torch.tensor([[1.0, 0.0]]), torch.tensor([[True, False]])).tolist() == [[0.5, -0.5]]


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
    recipe = a_recipe("dapo", entropyBonus={"coefficient": 1.0})
    tokens = random_tokens(recipe)

    (grad_MT,) = torch.autograd.grad(recipe.loss(tokens, totals_of(tokens)).total, tokens.entropy_MT)

    torch.testing.assert_close(grad_MT, -1.0 / tokens.mask_MT.sum() * tokens.mask_MT.double())


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


TARGETS = {"easy": 40, "medium": 20, "hard": 90}


@pytest.mark.parametrize(
    ("preset", "wanted"),
    [
        ("laserD", [[1.5, 1.0, -0.5, -0.5], [1.5, -0.5, -0.5, -1.0]]),
        ("laserDE", [[1.5, 1.0, -0.5, 0.0], [1.5, -0.5, -0.5, -1.0]]),
    ],
)
def test_targets_by_difficulty_decide_which_answers_earn_the_bonus(preset: str, wanted: list[list[float]]) -> None:
    answers = some_answers(
        [[1, 1, 0, 0], [1, 0, 0, 0]], [[10.0, 50.0, 15.0, 21.0], [80.0, 70.0, 90.0, 95.0]], [[0] * 4, [0, 0, 0, 1]]
    )

    assert a_recipe(preset).rewards(answers, 1, TARGETS).tolist() == wanted


def test_archer_takes_laser_ds_targets() -> None:
    recipe = a_recipe("archer", lengthReward={"laserD": {}})

    assert recipe.rewards(some_answers([[1, 0]], [[20.0, 5.0]]), 1, TARGETS).tolist() == [[1.5, 0.0]]


def test_laser_d_without_targets_says_what_is_missing() -> None:
    with pytest.raises(AssertionError, match="monitor prompts must be answered"):
        a_recipe("laserD").rewards(some_answers([[1, 0]], [[20.0, 5.0]]), 1)


def test_80_20_takes_mgpos_emphasis() -> None:
    recipe = a_recipe("highEntropy20", emphasis={"mgpo": {"strength": 2.0}})
    plain = a_recipe("highEntropy20")
    correct_PG = torch.tensor([[True, False, False, False]])
    rewards_PG = correct_PG.double()

    scaled_PG = recipe.advantages(rewards_PG, correct_PG) / plain.advantages(rewards_PG, correct_PG)

    torch.testing.assert_close(scaled_PG, torch.full((1, 4), 0.7698003589195010, dtype=torch.float64))
    assert recipe.needs_entropy


@pytest.mark.parametrize(
    ("variant", "changes"),
    [
        ("code_microbatch1", {"reduction": "sequenceTokenMean"}),
        ("code_microbatch_all", {"reduction": "tokenMean"}),
    ],
)
@pytest.mark.parametrize(("low", "high"), [(0.001, 0.0), (0.1, 0.02)])
def test_archers_released_behaviour_is_a_manifest_away(
    variant: str, changes: dict[str, Any], low: float, high: float
) -> None:
    case = CASES[f"archer_{variant}_bk{low}_br{high}"]
    released = {"ties": "low", "klNormalization": "classes", "klLowEntropy": low, "klHighEntropy": high}
    recipe = a_recipe("archer", trustRegion={"archer": released}, **changes)
    tokens = tokens_of(case, recipe)

    loss = recipe.loss(tokens, totals_of(tokens))

    case.assert_close(loss.total, "loss")
    case.assert_close(gradient(loss, tokens), "grad")


def test_classes_may_follow_the_entropies_of_the_policy_being_trained() -> None:
    recipe = a_recipe("archer", trustRegion={"archer": {"entropySource": "update"}})
    tokens = random_tokens(recipe)
    reversed_MT = replace(tokens, uncertain_MT=tokens.mask_MT & ~tokens.uncertain_MT)

    loss = recipe.loss(reversed_MT, totals_of(tokens))

    assert torch.equal(loss.facts.uncertain_MT, tokens.uncertain_MT)
    assert torch.equal(loss.total, recipe.loss(tokens, totals_of(tokens)).total)
    assert a_recipe("archer").objective.reclassify is None


def test_the_facts_of_a_loss_say_what_became_of_each_token() -> None:
    recipe = a_recipe("grpo", trustRegion={"dualClip": 3.0})
    log_ratio = torch.tensor([[0.5, -0.5, 0.0, 9.0], [2.0, -0.5, 0.0, 9.0]], dtype=torch.float64)
    mask_MT = torch.tensor([[True, True, True, False]] * 2)
    tokens = Tokens(
        logprob_MT=log_ratio.clone().requires_grad_(),
        entropy_MT=log_ratio * 0,
        proximal_MT=log_ratio * 0,
        reference_MT=log_ratio + 0.5,
        advantage_M1=torch.tensor([[0.5], [-0.5]]).double(),
        weight_MT=torch.ones_like(log_ratio),
        mask_MT=mask_MT,
        selected_MT=mask_MT & torch.tensor([True, True, True, True]),
        uncertain_MT=mask_MT,
    )

    loss = recipe.loss(tokens, totals_of(tokens))
    facts = loss.facts

    assert facts.clipped_high_MT.tolist() == [[True, False, False, False], [False] * 4]
    assert facts.clipped_low_MT.tolist() == [[False] * 4, [False, True, False, False]]
    assert facts.dual_clipped_MT.tolist() == [[False] * 4, [True, False, False, False]]
    assert facts.k3_MT is not None
    assert not facts.k3_MT.requires_grad
    assert facts.k3_MT[mask_MT].tolist() == pytest.approx([0.148721270700128] * 6)
    assert (loss.num_clipped, loss.num_dual_clipped) == (2, 1)
    assert loss.kl_nats is not None
    assert loss.kl_nats.item() == pytest.approx(6 * 0.148721270700128)
    assert a_recipe("dapo").loss(tokens, totals_of(tokens)).facts.k3_MT is None


def test_only_selected_tokens_are_counted_as_clipped() -> None:
    recipe = a_recipe("dapo", trustRegion={"dualClip": 1.5})
    tokens = random_tokens(recipe, rows=20)
    none_MT = torch.zeros_like(tokens.mask_MT)

    whole = recipe.loss(tokens, totals_of(tokens))
    nothing = recipe.loss(replace(tokens, selected_MT=none_MT), totals_of(tokens))

    assert min(int(whole.num_clipped), int(whole.num_dual_clipped)) > 0
    assert (nothing.num_clipped, nothing.num_dual_clipped, nothing.policy) == (0, 0, 0)


def test_aspo_counts_its_stopped_tokens_and_no_dual_ones() -> None:
    recipe = a_recipe("dapo", trustRegion={"aspo": {}, "dualClip": 0.0})
    loss = recipe.loss(tokens_of(CASES["dapo_loss"], recipe), totals_of(tokens_of(CASES["dapo_loss"], recipe)))

    assert (loss.num_clipped, loss.num_dual_clipped) == (2, 0)


def test_a_veto_drops_a_whole_completion() -> None:
    mismatch_BT = torch.tensor([[0.0, -0.5, -3.0], [0.0, -0.5, -1.0]])
    recipe = a_recipe("dapo", importanceSampling={"mode": "truncate", "veto": 0.1})

    assert recipe.importance_weights is not None
    weights_BT = recipe.importance_weights(mismatch_BT, torch.ones(2, 3, dtype=torch.bool))

    assert weights_BT[0].tolist() == [0.0, 0.0, 0.0]
    assert (weights_BT[1] > 0).all()


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"efficient": {"alpha": 0.4, "form": "released"}}, 2 * 0.867904619731),
        ({"efficient": {"alpha": 0.4}}, 2 - 0.132095380269),
        ({"l1Max": {"targetTokens": 50, "alpha": 0.01, "form": "released"}}, 0.7),
        ({"l1Max": {"targetTokens": 50, "alpha": 0.01, "delta": 0.1}}, 0.5),
    ],
)
def test_the_released_forms_of_length_rewards_are_a_manifest_away(spec: dict[str, Any], wanted: float) -> None:
    recipe = a_recipe("drGrpo", lengthReward=spec, outcomeReward={"correct": 2.0})

    reward_PG = recipe.rewards(some_answers([[1, 1]], [[10.0, 50.0]]), 1)

    assert reward_PG[0, 0].item() == pytest.approx(wanted)


def test_the_smallest_overlong_cache_is_one_token() -> None:
    recipe = a_recipe("dapo", max_tokens=10, overlong={"cacheFraction": 0.01, "penalty": 0.5})

    assert recipe.rewards(some_answers([[1, 1]], [[9, 10]]), 1).tolist() == [[1.0, 0.5]]

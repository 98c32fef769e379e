"""What is said of entropies, on numbers that can be checked by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor

from learning import a_completion, a_recipe, a_scored_group, facts_of
from rlvr_trainer.algorithms.recipe import Choice
from rlvr_trainer.learner.batching import build_batch
from rlvr_trainer.learner.certainty import forks_of, of_entropy
from rlvr_trainer.learner.outcomes import tokens_of
from rlvr_trainer.learner.step import Look, Stage
from rlvr_trainer.learner.tally import Trace
from rlvr_trainer.samples import Outcome, StepFacts

ENTROPY = torch.tensor([[0.1, 2.0, 0.3, 0.4, 9.0], [1.0, 0.2, 9.0, 9.0, 9.0]])
"""Rows of four tokens and of two; 9 is a pad."""


def two_rows(first: list[int], second: list[int]) -> StepFacts:
    completions = [a_completion(first), a_completion(second)]
    return facts_of(1, [a_scored_group(0, completions, [Outcome.CORRECT, Outcome.WRONG])])


FACTS = two_rows([5, 6, 5, 5], [6, 5])


def a_stage(high: list[list[int]], *, facts: StepFacts = FACTS, entropy_BT: Tensor = ENTROPY, **spec: Any) -> Stage:
    """`high` are the tokens that the recipe picks: selected ones, or those of high entropy."""
    recipe = a_recipe(**spec)
    batch = build_batch(facts, recipe)
    high_BT, none_BT = torch.tensor(high, dtype=torch.bool), torch.zeros_like(batch.mask_BT)
    choice = Choice(selected_BT=batch.mask_BT, uncertain_BT=high_BT)
    if recipe.selects:
        choice = Choice(selected_BT=high_BT, uncertain_BT=none_BT)
    width = batch.mask_BT.shape[1]
    return Stage(
        batch=batch,
        start=Look(logprob_BT=torch.zeros_like(batch.sampling_BT), entropy_BT=entropy_BT[:, :width]),
        reference=None,
        choice=choice,
        has_looked=True,
        trace=Trace.of(batch.mask_BT, has_reference=False),
    )


PICKED = [[0, 1, 0, 0], [1, 0, 0, 0]]


def found_in(preset: str) -> dict[str, float]:
    stage = a_stage(PICKED, preset=preset)
    return {key.removeprefix("rlvr_learner_"): value for key, value in of_entropy(stage, a_recipe(preset=preset))}


def test_quantiles_are_over_the_tokens_of_all_completions_and_no_pads() -> None:
    """0.1 0.2 0.3 0.4 1.0 2.0"""
    found = found_in("dapo")

    assert found["entropy_nats"] == pytest.approx(4 / 6)
    quantiles = {key: value for key, value in found.items() if key.startswith("entropy_quantile_nats")}
    assert len(quantiles) == 21
    assert quantiles['entropy_quantile_nats{quantile="0"}'] == pytest.approx(0.1)
    assert quantiles['entropy_quantile_nats{quantile="0.2"}'] == pytest.approx(0.2)
    assert quantiles['entropy_quantile_nats{quantile="0.5"}'] == pytest.approx(0.35)
    assert quantiles['entropy_quantile_nats{quantile="0.95"}'] == pytest.approx(1.75)
    assert quantiles['entropy_quantile_nats{quantile="1"}'] == pytest.approx(2.0)


def test_without_classes_nothing_is_said_of_classes() -> None:
    assert not [key for key in found_in("dapo") if "class" in key or "threshold" in key or "selected" in key]


def test_the_rule_of_80_and_20_tells_its_threshold_and_both_classes() -> None:
    found = found_in("highEntropy20")

    assert found["entropy_threshold_nats"] == 1.0
    assert found["high_entropy_tokens_ratio"] == pytest.approx(2 / 6)
    assert found['entropy_by_class_nats{class="high"}'] == pytest.approx(1.5)
    assert found['entropy_by_class_nats{class="low"}'] == pytest.approx(0.25)
    shares = [found[f'selected_by_completion_ratio{{statistic="{name}"}}'] for name in ("min", "mean", "max")]
    assert shares == [0.25, 0.375, 0.5]


def test_archer_tells_the_threshold_of_each_completion() -> None:
    found = found_in("archer")

    thresholds = [found[f'entropy_class_threshold_nats{{statistic="{name}"}}'] for name in ("min", "mean", "max")]
    assert thresholds == [1.0, 1.5, 2.0]
    assert found['entropy_by_class_nats{class="high"}'] == pytest.approx(1.5)
    assert "entropy_threshold_nats" not in found


def test_completions_without_a_token_of_high_entropy_have_no_threshold() -> None:
    stage = a_stage([[0, 0, 0, 0], [1, 0, 0, 0]], preset="archer")
    found = dict(of_entropy(stage, a_recipe(preset="archer")))

    assert found['rlvr_learner_entropy_class_threshold_nats{statistic="max"}'] == 1.0


def test_no_token_of_high_entropy_at_all_leaves_their_mean_absent() -> None:
    stage = a_stage([[0, 0, 0, 0], [0, 0, 0, 0]], preset="archer")
    found = dict(of_entropy(stage, a_recipe(preset="archer")))

    assert found["rlvr_learner_high_entropy_tokens_ratio"] == 0
    assert not [key for key in found if "threshold" in key or 'class="high"' in key]


def test_forks_are_frequent_tokens_ranked_by_mean_entropy() -> None:
    """Token 3 comes ten times at 1 nat, token 8 ten times at 2, token 4 nine times at 5."""
    ids = [3] * 10 + [8] * 10 + [4] * 9
    entropies = torch.tensor([[1.0] * 10 + [2.0] * 10 + [5.0] * 9, [0.0] * 29])
    facts = two_rows(ids, [1])
    stage = a_stage([[0] * 29, [0] * 29], facts=facts, entropy_BT=entropies, preset="dapo")

    forks = forks_of(stage, tokens_of(facts))

    assert [(fork.token, fork.count, fork.entropy) for fork in forks] == [(8, 10, 2.0), (3, 10, 1.0)]


def test_no_more_than_twenty_forks_are_kept() -> None:
    ids = [token for token in range(30) for _ in range(10)]
    entropies = torch.tensor([[token / 10 for token in ids], [0.0] * 300])
    facts = two_rows(ids, [1])
    stage = a_stage([[0] * 300] * 2, facts=facts, entropy_BT=entropies, preset="dapo")

    assert [fork.token for fork in forks_of(stage, tokens_of(facts))] == list(range(29, 9, -1))

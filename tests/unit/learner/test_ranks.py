"""A step means the same however its rows are spread over ranks and passes, bit for bit where masks are concerned."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from learning import a_backend, a_dealing, a_recipe, random_facts, take
from rlvr_trainer.algorithms.ranking import Share
from rlvr_trainer.algorithms.recipe import Recipe
from rlvr_trainer.learner.backends.local import LocalBackend
from rlvr_trainer.learner.batching import build_batch
from rlvr_trainer.learner.microbatches import hand_out, plan_step
from rlvr_trainer.learner.ranks import ALONE, Ranks
from rlvr_trainer.learner.step import Findings, Method, prepare
from rlvr_trainer.learner.tally import Counts
from thread_ranks import on_ranks

RECIPES: dict[str, dict[str, Any]] = {
    "80/20": {"preset": "highEntropy20"},
    "80/20 by quantile": {"preset": "highEntropy20", "tokenSelection": {"topEntropy": {"method": "quantile"}}},
    "archer": {"preset": "archer"},
    "both": {"preset": "archer", "tokenSelection": {"topEntropy": {"fraction": 0.3, "scope": "batch"}}},
}
FACTS = random_facts(5, num_groups=8, longest=24)
ONE_ROW_A_PASS, A_FEW_ROWS, ALL_ROWS = 1, 100, 100_000
Masks = tuple[Tensor, Tensor, Tensor]


def masks_of(folder: Path, recipe: Recipe, *, num_ranks: int, budget: int) -> list[Masks]:
    """Selected tokens, uncertain tokens and entropies of the whole step, as each of `num_ranks` ranks knows them."""
    batch, dealing = build_batch(FACTS, recipe), a_dealing(token_budget=budget)
    # Not in the threads: transformers patches itself while it loads a model.
    backends = [a_backend(folder) for _ in range(num_ranks)]

    def work(ranks: Ranks) -> Masks:
        method = Method(backend=backends[ranks.rank], recipe=recipe, reference=None, ranks=ranks)
        stage = prepare(batch, plan_step(batch, dealing, step=1, ranks=ranks), method)
        return stage.choice.selected_BT, stage.choice.uncertain_BT, stage.start.entropy_BT

    return on_ranks(num_ranks, work)


@pytest.fixture(scope="module")
def alone(model_folder: Path) -> dict[str, Masks]:
    """One rank, a handful of rows in a pass."""
    return {
        name: masks_of(model_folder, a_recipe(max_tokens=24, **spec), num_ranks=1, budget=A_FEW_ROWS)[0]
        for name, spec in RECIPES.items()
    }


@pytest.mark.parametrize("num_ranks", [1, 2, 4])
@pytest.mark.parametrize("budget", [ONE_ROW_A_PASS, A_FEW_ROWS, ALL_ROWS])
@pytest.mark.parametrize("name", RECIPES)
def test_masks_are_the_same_bits_for_any_number_of_ranks_and_any_passes(
    model_folder: Path, alone: dict[str, Masks], name: str, num_ranks: int, budget: int
) -> None:
    recipe = a_recipe(max_tokens=24, **RECIPES[name])

    for known in masks_of(model_folder, recipe, num_ranks=num_ranks, budget=budget):
        assert all(torch.equal(mine, expected) for mine, expected in zip(known, alone[name], strict=True))


@pytest.mark.parametrize("name", ["80/20", "both"])
def test_a_selection_over_the_batch_is_no_selection_by_rank(alone: dict[str, Masks], name: str) -> None:
    """Otherwise the test above would prove nothing: ranks differ in how many of their tokens are selected."""
    selected_BT = alone[name][0]
    lengths = build_batch(FACTS, a_recipe()).completion_lengths_B.tolist()
    hands = hand_out(lengths, range(len(lengths)), num_ranks=2)
    by_rank = [int(selected_BT[list(rows)].sum()) for rows in hands]

    assert selected_BT.sum() > 0 and by_rank[0] != by_rank[1]


@pytest.mark.parametrize("name", ["80/20", "archer"])
def test_equal_entropies_everywhere_are_decided_by_the_row_alone(name: str) -> None:
    """Ties are the worst case: every token is at the threshold."""
    recipe = a_recipe(max_tokens=24, **RECIPES[name])
    whole = build_batch(FACTS, recipe)
    expected = recipe.choose(torch.full_like(whole.sampling_BT, 0.5), whole.mask_BT)

    def work(ranks: Ranks) -> tuple[Tensor, Tensor]:
        rows_B = torch.arange(ranks.rank, len(whole.mask_BT), 4)
        entropy_BT, mask_BT = torch.full_like(whole.sampling_BT, 0.5)[rows_B], whole.mask_BT[rows_B]
        return rows_B, recipe.choose(entropy_BT, mask_BT, of=Share(rows_B=rows_B, add=ranks.add)).selected_BT

    for rows_B, selected_BT in on_ranks(4, work):
        assert torch.equal(selected_BT, expected.selected_BT[rows_B])


@pytest.mark.parametrize("name", RECIPES)
def test_the_gradients_of_all_ranks_add_up_to_that_of_one(model_folder: Path, name: str) -> None:
    recipe = a_recipe(max_tokens=24, **RECIPES[name])
    start, reference = a_backend(model_folder).weights(), a_backend(model_folder)
    backends = [a_backend(model_folder, sgd=True) for _ in range(5)]

    def moved_by(ranks: Ranks, backend: LocalBackend) -> tuple[Findings, dict[str, Tensor]]:
        method = Method(backend=backend, recipe=recipe, reference=reference, ranks=ranks)
        found = take(method, FACTS, a_dealing(token_budget=A_FEW_ROWS), rate=0.1)
        return found, {weight: tensor - start[weight] for weight, tensor in backend.weights().items()}

    parts = on_ranks(4, lambda ranks: moved_by(ranks, backends[ranks.rank]))

    found, alone = moved_by(ALONE, backends[4])
    assert max(float(moved.abs().max()) for moved in alone.values()) > 1e-3
    for weight, moved in alone.items():
        assert torch.allclose(torch.stack([part[weight] for _, part in parts]).sum(0), moved, atol=1e-6), weight
    for known, _ in parts:
        assert known.updates[0].loss == pytest.approx(found.updates[0].loss, abs=1e-6)
        assert known.updates[0].whole == counted(found.updates[0].whole)


def counted(counts: Counts) -> Counts:
    """Equal but for the rounding of a sum."""
    assert counts.kl_nats is not None
    return replace(counts, kl_nats=pytest.approx(counts.kl_nats, abs=1e-9))


def test_a_rank_without_rows_makes_as_many_passes_as_the_others(model_folder: Path) -> None:
    """Otherwise a collective of a sharded model would wait for it for ever."""
    recipe = a_recipe(max_tokens=12)
    batch = build_batch(random_facts(1, num_groups=1, group_size=2), recipe)

    plans = on_ranks(4, lambda ranks: plan_step(batch, a_dealing(token_budget=1), step=1, ranks=ranks))

    assert [plan.updates[0].passes for plan in plans][2:] == [((),), ((),)]
    assert sorted(row for plan in plans for row in plan.updates[0].own) == [0, 1]
    assert {plan.updates[0].rows for plan in plans} == {(0, 1)}

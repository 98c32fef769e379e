"""A step means the same however its rows are spread over ranks and passes, bit for bit where masks are concerned."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from learning import Add, a_backend, a_dealing, a_recipe, on_ranks, random_facts
from rlvr_trainer.algorithms.recipe import Recipe
from rlvr_trainer.learner.backends.local import LocalBackend
from rlvr_trainer.learner.batching import Batch, build_batch
from rlvr_trainer.learner.microbatches import plan_step
from rlvr_trainer.learner.step import Method, Stage, prepare, take_step
from rlvr_trainer.learner.stopwatch import Stopwatch

RECIPES: dict[str, dict[str, Any]] = {
    "80/20": {"preset": "highEntropy20"},
    "80/20 by quantile": {"preset": "highEntropy20", "tokenSelection": {"topEntropy": {"method": "quantile"}}},
    "archer": {"preset": "archer"},
    "both": {"preset": "archer", "tokenSelection": {"topEntropy": {"fraction": 0.3, "scope": "batch"}}},
}
FACTS = random_facts(5, num_groups=8, longest=24)
ONE_ROW_A_PASS, A_FEW_ROWS, ALL_ROWS = 1, 100, 100_000
Masks = tuple[Tensor, Tensor, Tensor]


def stage_of(batch: Batch, recipe: Recipe, backend: LocalBackend, *, budget: int) -> Stage:
    plan = plan_step(batch, a_dealing(token_budget=budget), step=1)
    return prepare(batch, plan, Method(backend=backend, recipe=recipe, reference=None))


def masks_of(folder: Path, recipe: Recipe, *, num_ranks: int, budget: int) -> Masks:
    """Selected tokens, uncertain tokens and entropies of the whole step, found by `num_ranks` ranks."""
    whole = build_batch(FACTS, recipe)
    # Not in the threads: transformers patches itself while it loads a model.
    backends = [a_backend(folder) for _ in range(num_ranks)]

    def work(rank: int, add: Add) -> tuple[Tensor, Stage]:
        part = whole.part(range(rank, whole.num_groups, num_ranks), add=add)
        rows_B = part.share.rows_B
        assert rows_B is not None
        return rows_B, stage_of(part, recipe, backends[rank], budget=budget)

    found = [torch.zeros_like(whole.mask_BT), torch.zeros_like(whole.mask_BT), torch.zeros_like(whole.sampling_BT)]
    for rows_B, stage in on_ranks(num_ranks, work):
        for into_BT, values_BT in zip(
            found, (stage.choice.selected_BT, stage.choice.uncertain_BT, stage.start.entropy_BT), strict=True
        ):
            into_BT[rows_B] = values_BT
    return found[0], found[1], found[2]


@pytest.fixture(scope="module")
def alone(model_folder: Path) -> dict[str, Masks]:
    """One rank, a handful of rows in a pass."""
    return {
        name: masks_of(model_folder, a_recipe(max_tokens=24, **spec), num_ranks=1, budget=A_FEW_ROWS)
        for name, spec in RECIPES.items()
    }


@pytest.mark.parametrize("num_ranks", [1, 2, 4])
@pytest.mark.parametrize("budget", [ONE_ROW_A_PASS, A_FEW_ROWS, ALL_ROWS])
@pytest.mark.parametrize("name", RECIPES)
def test_masks_are_the_same_bits_for_any_number_of_ranks_and_any_passes(
    model_folder: Path, alone: dict[str, Masks], name: str, num_ranks: int, budget: int
) -> None:
    selected_BT, uncertain_BT, entropy_BT = masks_of(
        model_folder, a_recipe(max_tokens=24, **RECIPES[name]), num_ranks=num_ranks, budget=budget
    )

    assert torch.equal(selected_BT, alone[name][0])
    assert torch.equal(uncertain_BT, alone[name][1])
    assert torch.equal(entropy_BT, alone[name][2])


@pytest.mark.parametrize("name", ["80/20", "both"])
def test_a_selection_over_the_batch_is_no_selection_by_rank(alone: dict[str, Masks], name: str) -> None:
    """Otherwise the test above would prove nothing: groups differ in how many of their tokens are selected."""
    by_rank = alone[name][0].view(2, -1).sum(1)

    assert alone[name][0].sum() > 0 and by_rank[0] != by_rank[1]


@pytest.mark.parametrize("name", ["80/20", "archer"])
def test_equal_entropies_everywhere_are_decided_by_the_row_alone(name: str) -> None:
    """Ties are the worst case: every token is at the threshold."""
    recipe = a_recipe(max_tokens=24, **RECIPES[name])
    whole = build_batch(FACTS, recipe)
    expected = recipe.choose(torch.full_like(whole.sampling_BT, 0.5), whole.mask_BT)

    def work(rank: int, add: Add) -> tuple[Tensor | None, Tensor]:
        part = whole.part(range(rank, whole.num_groups, 4), add=add)
        chosen = recipe.choose(torch.full_like(part.sampling_BT, 0.5), part.mask_BT, of=part.share)
        return part.share.rows_B, chosen.selected_BT

    for rows_B, selected_BT in on_ranks(4, work):
        assert torch.equal(selected_BT, expected.selected_BT[rows_B])


@pytest.mark.parametrize("name", RECIPES)
def test_the_gradients_of_all_ranks_add_up_to_that_of_one(model_folder: Path, name: str) -> None:
    recipe = a_recipe(max_tokens=24, **RECIPES[name])
    whole, start = build_batch(FACTS, recipe), a_backend(model_folder).weights()
    backends = [a_backend(model_folder, sgd=True) for _ in range(5)]
    reference = a_backend(model_folder)

    def moved_by(batch: Batch, backend: LocalBackend) -> dict[str, Tensor]:
        method = Method(backend=backend, recipe=recipe, reference=reference)
        plan = plan_step(batch, a_dealing(token_budget=A_FEW_ROWS), step=1)
        take_step(batch, plan, method, learning_rate=0.1, watch=Stopwatch())
        return {weight: tensor - start[weight] for weight, tensor in backend.weights().items()}

    parts = on_ranks(
        4, lambda rank, add: moved_by(whole.part(range(rank, whole.num_groups, 4), add=add), backends[rank])
    )

    alone = moved_by(whole, backends[4])
    assert max(float(moved.abs().max()) for moved in alone.values()) > 1e-3
    for weight, moved in alone.items():
        assert torch.allclose(torch.stack([part[weight] for part in parts]).sum(0), moved, atol=1e-6), weight

"""A ZeRO stage on 1, 2 or 3 ranks goes on from what any stage on 1, 2 or 3 ranks saved.

Each saves for one, such that every stage meets every stage and every number of ranks every number.  Three ranks share
nothing evenly: shards end inside weights, and the last ones are padded.  4 ranks and plain torch are in
test_learner_zero.py.
"""

from itertools import product
from pathlib import Path

import pytest
import torch

from learner_groups import Errand, Trained, difference, train_group, train_here
from learning import a_model_folder

pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")
pytestmark = pytest.mark.timeout(1800)
STEPS, HALF = 4, 2
LOSSES, WEIGHTS = 1e-5, 1e-5
RANKS, STAGES = (1, 2, 3), (1, 2, 3)
Cell = tuple[int, int]
"""Ranks and stage."""
CELLS: list[Cell] = list(product(RANKS, STAGES))
PAIRS = [((ranks, stage), ((ranks + stage) % 3 + 1, (stage + 2 * ranks) % 3 + 1)) for ranks, stage in CELLS]
"""Who saved, who goes on."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("resumes")


@pytest.fixture(scope="module")
def model(folder: Path) -> str:
    return str(a_model_folder(folder / "model"))


@pytest.fixture(scope="module")
def straight(folder: Path, model: str) -> Trained:
    """Plain torch, from beginning to end."""
    torch.set_num_threads(1)
    return train_here(Errand(model=model, result=str(folder / "straight"), last=STEPS))


def saved_by(folder: Path, cell: Cell) -> str:
    ranks, stage = cell
    return str(folder / f"saved by {ranks} under {stage}")


@pytest.fixture(scope="module")
def resumed(folder: Path, model: str) -> dict[tuple[Cell, Cell], Trained]:
    """First every cell saves, then every cell goes on from each."""
    for ranks in RANKS:
        first = [half(folder, model, (ranks, stage)) for stage in STAGES]
        train_group(first, ranks=ranks)
    found: dict[tuple[Cell, Cell], Trained] = {}
    for ranks in RANKS:
        pairs = [pair for pair in PAIRS if pair[1][0] == ranks]
        found |= zip(pairs, train_group([second(folder, model, pair) for pair in pairs], ranks=ranks), strict=True)
    return found


def half(folder: Path, model: str, cell: Cell) -> Errand:
    saved = saved_by(folder, cell)
    return Errand(model=model, result=f"{saved}, half way", stage=cell[1], last=HALF, save=saved)


def second(folder: Path, model: str, pair: tuple[Cell, Cell]) -> Errand:
    saved, (ranks, stage) = saved_by(folder, pair[0]), pair[1]
    result = f"{saved}, gone on by {ranks} under {stage}"
    return Errand(model=model, result=result, stage=stage, first=HALF + 1, last=STEPS, load=saved)


@pytest.mark.parametrize(("before", "after"), PAIRS, ids=str)
def test_a_run_goes_on_along_the_same_curve(
    straight: Trained, resumed: dict[tuple[Cell, Cell], Trained], before: Cell, after: Cell
) -> None:
    trained = resumed[before, after]

    assert len(trained.losses) == 2 * (STEPS - HALF)
    assert trained.losses == pytest.approx(straight.losses[2 * HALF :], abs=LOSSES)
    assert difference(trained.weights, straight.weights) < WEIGHTS


@pytest.mark.usefixtures("resumed")
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_what_is_gone_on_from_has_a_shard_of_every_rank(folder: Path, cell: Cell) -> None:
    assert len(list(Path(saved_by(folder, cell)).glob(f"state-*-of-{cell[0]:05d}.safetensors"))) == cell[0]

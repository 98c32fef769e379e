"""DeepSpeed trains as plain torch does, and what one number of ranks saved another goes on from.

Every figure is compared with one and the same training by the local backend.
"""

from pathlib import Path

import pytest
import torch

from learner_groups import Errand, Trained, difference, train_group, train_here
from learning import a_model_folder

pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")
pytestmark = pytest.mark.timeout(3000)
STEPS, HALF = 6, 3
LOSSES, WEIGHTS = 1e-5, 1e-5
Cell = tuple[int, int, bool]
CELLS: list[Cell] = [
    (1, 1, False),
    (1, 2, True),
    (1, 3, False),
    (2, 1, True),
    (2, 2, False),
    (2, 3, True),
    (4, 1, False),
    (4, 3, True),
]
"""Ranks, stage, packed; `make learner-matrix` has all of them."""
Way = tuple[str, int, int]
WAYS: list[Way] = [
    ("1 rank, stage 1", 4, 3),
    ("1 rank, stage 3", 4, 1),
    ("local", 4, 2),
    ("4 ranks, stage 3", 2, 2),
    ("4 ranks, stage 1", 1, 3),
    ("4 ranks, stage 3", 1, 1),
]
"""What wrote the checkpoint of step 3, and how many ranks go on under which stage."""
GROUPS = ((1, 0), (4, 4), (2, 2), (0, 1))
"""Groups of processes, one after the other: ranks of the cells and of the ways that they do."""
Found = dict[Cell | Way, Trained]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("groups")


@pytest.fixture(scope="module")
def model(folder: Path) -> str:
    return str(a_model_folder(folder / "model"))


@pytest.fixture(scope="module")
def straight(folder: Path, model: str) -> Trained:
    """The local backend, and its checkpoint of step 5."""
    torch.set_num_threads(1)
    saved = str(folder / "saved" / "local")
    return train_here(Errand(model=model, result=str(folder / "local"), last=STEPS, save=saved, save_after=HALF))


def name_of(ranks: int, stage: int) -> str:
    return f"{ranks} rank{'s' if ranks > 1 else ''}, stage {stage}"


def whole(folder: Path, model: str, cell: Cell) -> Errand:
    ranks, stage, packs = cell
    name = name_of(ranks, stage)
    saved = str(folder / "saved" / name)
    return Errand(
        model=model, result=str(folder / name), stage=stage, packs=packs, last=STEPS, save=saved, save_after=HALF
    )


def second_half(folder: Path, model: str, way: Way) -> Errand:
    saved, ranks, stage = way
    result = str(folder / f"{saved} by {ranks} under {stage}")
    return Errand(
        model=model, result=result, stage=stage, first=HALF + 1, last=STEPS, load=str(folder / "saved" / saved)
    )


@pytest.fixture(scope="module")
def found(folder: Path, model: str, straight: Trained) -> Found:
    results: Found = {}
    for of_cells, of_ways in GROUPS:
        cells = [cell for cell in CELLS if cell[0] == of_cells]
        ways = [way for way in WAYS if way[1] == of_ways]
        errands = [*(whole(folder, model, cell) for cell in cells), *(second_half(folder, model, way) for way in ways)]
        trained = train_group(errands, ranks=of_cells or of_ways)
        results |= dict(zip([*cells, *ways], trained, strict=True))
    return results


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_any_stage_on_any_number_of_ranks_trains_as_plain_torch_does(
    straight: Trained, found: Found, cell: Cell
) -> None:
    trained = found[cell]

    assert len(trained.losses) == 2 * STEPS
    assert trained.losses == pytest.approx(straight.losses, abs=LOSSES)
    assert trained.norms == pytest.approx(straight.norms, rel=1e-3)
    assert difference(trained.weights, straight.weights) < WEIGHTS


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_checkpoint_is_gone_on_from_by_another_number_of_ranks_under_another_stage(
    straight: Trained, found: Found, way: Way
) -> None:
    resumed = found[way]

    assert resumed.losses == pytest.approx(straight.losses[2 * HALF :], abs=LOSSES)
    assert difference(resumed.weights, straight.weights) < WEIGHTS


@pytest.mark.parametrize(("ranks", "stage"), [(1, 2), (4, 3)])
def test_plain_torch_goes_on_from_what_ranks_saved(
    folder: Path, model: str, straight: Trained, found: Found, ranks: int, stage: int
) -> None:
    saved = name_of(ranks, stage)
    assert len(list((folder / "saved" / saved).glob("state-*.safetensors"))) == ranks
    result = str(folder / f"local after {saved}")
    resumed = train_here(
        Errand(model=model, result=result, first=HALF + 1, last=STEPS, load=str(folder / "saved" / saved))
    )

    assert resumed.losses == pytest.approx(straight.losses[2 * HALF :], abs=LOSSES)
    assert difference(resumed.weights, straight.weights) < WEIGHTS


def test_without_its_moments_a_resumed_run_would_be_told_apart(folder: Path, model: str, straight: Trained) -> None:
    """Otherwise the tests above would not show that moments are resumed: Adam begins anew here."""
    weights_alone = folder / "weights-alone"
    train_here(Errand(model=model, result=str(folder / "half"), last=HALF, save=str(weights_alone)))
    torch.save({}, weights_alone / "optimizer.pt")
    forgetful = train_here(
        Errand(model=model, result=str(folder / "forgetful"), first=HALF + 1, last=STEPS, load=str(weights_alone))
    )

    assert difference(forgetful.weights, straight.weights) > 100 * WEIGHTS

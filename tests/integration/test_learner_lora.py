"""Adapters are trained alike by plain torch and by DeepSpeed, whatever stage and ranks, and go on across them.

The recipe has a KL term, so that the reference, which is the policy without its adapters, is asked in every step.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from learner_groups import LOSSES_IN_BFLOAT16, Errand, Trained, difference, train_group, train_here
from learning import a_model_folder
from rlvr_trainer.learner.models import load_policy

pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")
pytestmark = pytest.mark.timeout(3000)
LORA = {"rank": 4, "alpha": 8.0}
STEPS, HALF = 4, 2
LOSSES, WEIGHTS = 1e-5, 1e-5
Cell = tuple[int, int, bool, bool]
CELLS: list[Cell] = [
    (1, 1, False, False),
    (1, 2, True, False),
    (1, 3, False, True),
    (2, 1, True, False),
    (2, 2, False, False),
    (2, 3, True, False),
]
"""Ranks, stage, packed, activations computed again."""
Way = tuple[str, int, int]
WAYS: list[Way] = [("local", 2, 3), ("2 ranks, stage 3", 1, 2), ("2 ranks, stage 2", 1, 3)]
"""What wrote the checkpoint of half the steps, and how many ranks go on under which stage."""
STAGES = (1, 2, 3)
Extra = tuple[str, int]
EXTRAS: dict[Extra, dict[str, Any]] = {
    **{("offload", stage): {"stage": stage, "offload": "cpu"} for stage in STAGES},
    **{("bfloat16", stage): {"stage": stage, "dtype": "bfloat16", "offload": "cpu"} for stage in STAGES},
}
"""What 2 ranks do besides, by name and stage."""
Found = dict[Cell | Way | Extra, Trained]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("groups")


@pytest.fixture(scope="module")
def model(folder: Path) -> str:
    """The head is the embedding, so that a rank must find it although nothing trains it."""
    return str(a_model_folder(folder / "model", tied=True))


def an_errand(folder: Path, model: str, name: str, **how: Any) -> Errand:
    return Errand(model=model, result=str(folder / name), **{"preset": "grpo", "lora": LORA, "last": STEPS} | how)


def name_of(ranks: int, stage: int) -> str:
    return f"{ranks} rank{'s' if ranks > 1 else ''}, stage {stage}"


@pytest.fixture(scope="module")
def straight(folder: Path, model: str) -> Trained:
    """The local backend, and its checkpoint of half the steps."""
    torch.set_num_threads(1)
    return train_here(an_errand(folder, model, "local", save=str(folder / "saved" / "local"), save_after=HALF))


def whole(folder: Path, model: str, cell: Cell) -> Errand:
    ranks, stage, packs, recomputes = cell
    name = name_of(ranks, stage)
    saved = str(folder / "saved" / name)
    how = {"stage": stage, "packs": packs, "recomputes": recomputes}
    return an_errand(folder, model, name, save=saved, save_after=HALF, **how)


def second_half(folder: Path, model: str, way: Way) -> Errand:
    saved, ranks, stage = way
    load = str(folder / "saved" / saved)
    return an_errand(folder, model, f"{saved} by {ranks} under {stage}", stage=stage, first=HALF + 1, load=load)


def extras(folder: Path, model: str) -> dict[Extra, Errand]:
    found = {}
    for (name, stage), how in EXTRAS.items():
        saved = str(folder / "saved" / f"{name}, stage {stage}")
        found[name, stage] = an_errand(folder, model, f"{name}, stage {stage}", save=saved, **how)
    return found


@pytest.fixture(scope="module")
def found(folder: Path, model: str, straight: Trained) -> Found:
    results: Found = {}
    for ranks in (2, 1):
        cells, ways = [cell for cell in CELLS if cell[0] == ranks], [way for way in WAYS if way[1] == ranks]
        errands: dict[Cell | Way | Extra, Errand] = {cell: whole(folder, model, cell) for cell in cells}
        errands |= {way: second_half(folder, model, way) for way in ways}
        errands |= extras(folder, model) if ranks == 2 else {}
        results |= dict(zip(errands, train_group(list(errands.values()), ranks=ranks), strict=True))
    return results


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_any_stage_trains_adapters_as_plain_torch_does(straight: Trained, found: Found, cell: Cell) -> None:
    trained = found[cell]

    assert len(trained.losses) == 2 * STEPS
    assert trained.losses == pytest.approx(straight.losses, abs=LOSSES)
    assert trained.norms == pytest.approx(straight.norms, rel=1e-3)
    assert difference(trained.weights, straight.weights) < WEIGHTS


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_adapters_go_on_under_another_number_of_ranks_and_another_stage(
    straight: Trained, found: Found, way: Way
) -> None:
    resumed = found[way]

    assert resumed.losses == pytest.approx(straight.losses[2 * HALF :], abs=LOSSES)
    assert difference(resumed.weights, straight.weights) < WEIGHTS


@pytest.mark.parametrize(("ranks", "stage"), [(1, 2), (2, 3)])
def test_plain_torch_goes_on_from_the_adapters_that_ranks_saved(
    folder: Path, model: str, straight: Trained, found: Found, ranks: int, stage: int
) -> None:
    saved = folder / "saved" / name_of(ranks, stage)
    assert len(list(saved.glob("state-*.safetensors"))) == ranks
    assert all(".lora_" in name for path in saved.glob("*.safetensors") for name in load_file(path))
    resumed = train_here(an_errand(folder, model, f"local after {saved.name}", first=HALF + 1, load=str(saved)))

    assert resumed.losses == pytest.approx(straight.losses[2 * HALF :], abs=LOSSES)
    assert difference(resumed.weights, straight.weights) < WEIGHTS


@pytest.mark.parametrize(("ranks", "stage"), [(1, 3), (2, 2), (2, 3)])
def test_what_ranks_gather_is_the_base_plus_the_adapters(
    folder: Path, model: str, found: Found, ranks: int, stage: int
) -> None:
    name = name_of(ranks, stage)
    weights = next(trained for cell, trained in found.items() if cell[:2] == (ranks, stage)).weights
    matrices = load_file(folder / name / "adapter" / "adapter_model.safetensors")
    base = dict(load_policy(Path(model), temperature=1.0).model.named_parameters())
    assert weights.keys() == base.keys() and len(matrices) == 28

    for weight, own in base.items():
        stem = f"base_model.model.{weight.removesuffix('.weight')}"
        expected = own.detach().clone()
        if f"{stem}.lora_A.weight" in matrices:
            expected += 2.0 * matrices[f"{stem}.lora_B.weight"] @ matrices[f"{stem}.lora_A.weight"]
            assert not torch.equal(expected, own)
        assert torch.allclose(weights[weight], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("stage", STAGES)
def test_adapters_whose_moments_are_in_host_memory_train_alike(straight: Trained, found: Found, stage: int) -> None:
    trained = found["offload", stage]

    assert trained.offloads
    assert trained.losses == pytest.approx(straight.losses, abs=LOSSES)
    assert difference(trained.weights, straight.weights) < WEIGHTS


@pytest.mark.parametrize("stage", STAGES)
def test_a_bfloat16_model_with_adapters_trains_near_it_and_keeps_them_in_float32(
    folder: Path, straight: Trained, found: Found, stage: int
) -> None:
    trained = found["bfloat16", stage]
    paths = list((folder / "saved" / f"bfloat16, stage {stage}").glob("state-*.safetensors"))

    assert trained.losses == pytest.approx(straight.losses, abs=LOSSES_IN_BFLOAT16)
    assert trained.losses != pytest.approx(straight.losses, abs=1e-4)
    assert {weight.dtype for weight in trained.weights.values()} == {torch.bfloat16}
    assert len(paths) == 2
    assert {tensor.dtype for path in paths for tensor in load_file(path).values()} == {torch.float32}

"""bfloat16 is how the model computes; what is trained, saved and resumed is float32, under every ZeRO stage."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from learner_groups import LOSSES_IN_BFLOAT16, Errand, Trained, difference, train_group, train_here
from learning import a_model_folder
from rlvr_trainer.learner.shards import KINDS, WEIGHT, Shards

pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")
pytestmark = pytest.mark.timeout(900)
STEPS, HALF = 6, 3
STAGES = (1, 2, 3)
TINY_RATE = 1e-5
Found = dict[tuple[int, str], Trained]
"""By stage and name of the errand."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("half")


@pytest.fixture(scope="module")
def model(folder: Path) -> str:
    return str(a_model_folder(folder / "model"))


def errands_of(folder: Path, model: str, stage: int) -> dict[str, Errand]:
    """The whole way twice, with its checkpoint in the middle and at the end; the second half; tiny updates."""
    at = folder / str(stage)

    def errand(name: str, *, save_after: int = 0, first: int = 1, load: str = "", rate: float = 1e-3) -> Errand:
        return Errand(
            model=model,
            stage=stage,
            dtype="bfloat16",
            last=STEPS,
            result=str(at / name),
            save=str(at / f"{name}-saved"),
            save_after=save_after,
            first=first,
            load=load,
            rate=rate,
        )

    return {
        "half": errand("half", save_after=HALF),
        "whole": errand("whole"),
        "resumed": errand("resumed", first=HALF + 1, load=str(at / "half-saved")),
        "tiny": errand("tiny", rate=TINY_RATE),
    }


@pytest.fixture(scope="module")
def found(folder: Path, model: str) -> Found:
    errands = {(stage, name): errand for stage in STAGES for name, errand in errands_of(folder, model, stage).items()}
    return dict(zip(errands, train_group(list(errands.values()), ranks=2), strict=True))


@pytest.fixture(scope="module")
def exact(folder: Path, model: str) -> Trained:
    """Plain torch in float32."""
    torch.set_num_threads(1)
    return train_here(Errand(model=model, result=str(folder / "exact"), last=STEPS))


def saved(folder: Path, stage: int, name: str, kind: str = WEIGHT) -> dict[str, Tensor]:
    """What all ranks wrote at the end."""
    shards = Shards(folder / str(stage) / f"{name}-saved")
    return {weight: shards.read(weight, kind, start=0, size=size) for weight, size in shards.sizes.items()}


@pytest.mark.usefixtures("found")
@pytest.mark.parametrize("stage", STAGES)
def test_weights_and_moments_are_kept_in_float32(folder: Path, stage: int) -> None:
    paths = sorted((folder / str(stage) / "whole-saved").glob("state-*.safetensors"))

    assert len(paths) == 2
    assert {tensor.dtype for path in paths for tensor in load_file(path).values()} == {torch.float32}


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_published_is_what_is_kept_rounded_once(folder: Path, found: Found, stage: int) -> None:
    kept = saved(folder, stage, "whole")

    for name, weight in found[stage, "whole"].weights.items():
        assert weight.dtype is torch.bfloat16
        assert torch.equal(weight.flatten(), kept[name].bfloat16()), name


@pytest.mark.parametrize("stage", STAGES)
def test_losses_are_near_those_of_float32_and_not_the_same(found: Found, exact: Trained, stage: int) -> None:
    losses = found[stage, "whole"].losses

    assert losses == pytest.approx(exact.losses, abs=LOSSES_IN_BFLOAT16)
    assert losses != pytest.approx(exact.losses, abs=1e-4)


@pytest.mark.parametrize("stage", STAGES)
def test_a_run_that_is_resumed_goes_on_bit_for_bit(folder: Path, found: Found, stage: int) -> None:
    whole, resumed = found[stage, "whole"], found[stage, "resumed"]

    assert resumed.losses == whole.losses[2 * HALF :]
    assert difference(resumed.weights, whole.weights) == 0
    for kind in KINDS:
        assert difference(saved(folder, stage, "resumed", kind), saved(folder, stage, "whole", kind)) == 0


@pytest.mark.usefixtures("found")
@pytest.mark.parametrize("stage", STAGES)
def test_updates_that_bfloat16_would_lose_add_up(folder: Path, model: str, stage: int) -> None:
    """AdamW moves a weight by about the learning rate: too little for nearly all of them to be another bfloat16."""
    base = {name: weight.flatten() for name, weight in load_file(f"{model}/model.safetensors").items()}
    kept = saved(folder, stage, "tiny")
    before, after = (torch.cat([weights[name] for name in sorted(base)]) for weights in (base, kept))
    half = before.bfloat16()

    assert float((half - TINY_RATE == half).float().mean()) > 0.95
    moved = (after - before).abs()
    assert float((moved > 0).float().mean()) > 0.95
    assert float(moved.mean()) > 2 * TINY_RATE

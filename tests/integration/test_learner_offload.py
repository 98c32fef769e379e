"""The optimizer's state in host memory: the same training, on a machine that cannot compile anything."""

from pathlib import Path

import pytest

from learner_groups import Errand, Trained, difference, train_group
from learner_processes import Learner
from learning import a_learner_job, a_model_folder, a_place

pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")
pytestmark = pytest.mark.timeout(900)
STEPS, HALF = 4, 2
STAGES = (1, 2, 3)
WHERE = ("none", "cpu")
LOSSES, WEIGHTS = 1e-5, 1e-5
Way = tuple[int, str, str]
"""Stage, offload of the first half, offload of the second."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("offload")


@pytest.fixture(scope="module")
def bare(folder: Path) -> dict[str, str]:
    """The environment of a machine with no compiler; what DeepSpeed compiles it keeps in `kernels`."""
    return {"PATH": str(folder / "no-tools"), "TORCH_EXTENSIONS_DIR": str(folder / "kernels")}


@pytest.fixture(scope="module")
def model(folder: Path) -> str:
    return str(a_model_folder(folder / "model"))


@pytest.fixture(scope="module")
def found(folder: Path, model: str, bare: dict[str, str]) -> dict[Way, Trained]:
    """Each stage with and without, and each from the other's checkpoint."""
    errands: dict[Way, Errand] = {}
    for stage in STAGES:
        for offload in WHERE:
            name, saved = str(folder / f"{stage}-{offload}"), str(folder / f"saved-{stage}-{offload}")
            way = {"model": model, "stage": stage, "last": STEPS}
            errands[stage, offload, offload] = Errand(**way, offload=offload, result=name, save=saved, save_after=HALF)
            other = WHERE[offload == "none"]
            errands[stage, offload, other] = Errand(
                **way, offload=other, result=f"{name}-{other}", load=saved, first=HALF + 1
            )
    return dict(zip(errands, train_group(list(errands.values()), ranks=2, **bare), strict=True))


@pytest.mark.parametrize("stage", STAGES)
def test_with_the_optimizer_in_host_memory_losses_and_weights_are_those_without(
    found: dict[Way, Trained], stage: int
) -> None:
    without, offloaded = found[stage, "none", "none"], found[stage, "cpu", "cpu"]

    assert (without.offloads, offloaded.offloads) == (False, True)
    assert len(offloaded.losses) == 2 * STEPS
    assert offloaded.losses == pytest.approx(without.losses, abs=LOSSES)
    assert offloaded.norms == pytest.approx(without.norms, rel=1e-3)
    assert difference(offloaded.weights, without.weights) < WEIGHTS


@pytest.mark.parametrize("before", WHERE)
@pytest.mark.parametrize("stage", STAGES)
def test_a_checkpoint_is_gone_on_from_with_the_optimizer_in_the_other_place(
    found: dict[Way, Trained], stage: int, before: str
) -> None:
    straight, resumed = found[stage, before, before], found[stage, before, WHERE[before == "none"]]

    assert resumed.losses == pytest.approx(straight.losses[2 * HALF :], abs=LOSSES)
    assert difference(resumed.weights, straight.weights) < WEIGHTS


@pytest.mark.usefixtures("found")
def test_nothing_was_compiled_for_it(bare: dict[str, str]) -> None:
    assert not Path(bare["TORCH_EXTENSIONS_DIR"]).exists()


def test_the_log_says_that_the_compiled_kernels_are_absent_and_training_goes_on(
    tmp_path: Path, model: str, bare: dict[str, str]
) -> None:
    learner = {"backend": {"deepspeed": {"zeroStage": 2, "offload": "cpu"}}}
    job = a_learner_job(Path(model), (tmp_path / "checkpoints").as_uri(), steps=2, learner=learner)
    process = Learner(a_place(tmp_path, job, batches=2), **bare)

    assert process.wait(200) == 0, process.stderr_text()
    said = process.stderr_text()
    assert said.count("runs without its compiled kernels (deepspeed_shm_comm, fused_adam, cpu_adam)") == 1
    assert (tmp_path / "checkpoints" / "step-000002" / "READY").exists()

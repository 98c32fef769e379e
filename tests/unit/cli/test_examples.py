"""Every manifest in examples/: valid, explained, and with the numbers of the run that it reproduces."""

import ast
from pathlib import Path
from typing import Any, get_args

import pytest

from rlvr_api import RLVRJob
from rlvr_api.algorithm import Preset
from rlvr_trainer.cli.explain import explain
from rlvr_trainer.cli.main import main
from rlvr_trainer.cli.manifest import load_manifest

EXAMPLES = Path(__file__).parents[3] / "examples"
FILES = sorted(EXAMPLES.glob("*.yaml"))
ON_A_CPU = [path for path in FILES if path.stem.startswith("arithmetic")]
PUBLISHED = {
    # name: (steps, prompts, group, updates a pass, passes, rate, warm-up, temperature, longest, answers an evaluation)
    "math-dapo": "600, 512, 16, 16, 1, 1e-6, 20, 1.0, 20480, 32",
    "math-high-entropy": "1360, 512, 16, 16, 1, 1e-6, 10, 1.0, 20480, 16",
    "math-high-entropy-14b": "1360, 512, 16, 16, 1, 1e-6, 10, 1.0, 20480, 16",
    "math-high-entropy-32b": "1360, 512, 16, 16, 1, 1e-6, 10, 1.0, 20480, 16",
    "math-archer": "520, 64, 16, 2, 3, 1e-6, 10, 1.0, 32768, 64",
    "code-archer": "320, 64, 16, 2, 3, 1e-6, 10, 1.0, 32768, 8",
    "math-laser": "1562, 128, 8, 2, 1, 1e-6, 0, 0.6, 16384, 16",
    "math-laser-d": "1562, 128, 8, 2, 1, 1e-6, 0, 0.6, 16384, 16",
    "math-laser-de": "1562, 128, 8, 2, 1, 1e-6, 0, 0.6, 16384, 16",
    "math-laser-7b": "1562, 128, 8, 2, 1, 1e-6, 0, 0.6, 16384, 16",
    "math-laser-d-7b": "1562, 128, 8, 2, 1, 1e-6, 0, 0.6, 16384, 16",
    "math-laser-de-7b": "1562, 128, 8, 2, 1, 1e-6, 0, 0.6, 16384, 16",
    "math-mgpo": "500, 128, 16, 2, 1, 1e-6, 0, 1.0, 16384, 64",
}


def the(name: str) -> RLVRJob:
    return load_manifest(EXAMPLES / f"{name}.yaml")


def sizes_of(job: RLVRJob) -> tuple[Any, ...]:
    training, sampling, held_out = job.spec.training, job.spec.rollout.sampling, job.spec.data.eval
    assert held_out is not None
    return (
        training.steps,
        training.prompts_per_step,
        training.group_size,
        training.minibatches,
        training.epochs,
        training.optimizer.learning_rate,
        training.optimizer.warmup_steps,
        sampling.temperature,
        sampling.max_tokens,
        held_out.completions,
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_validates_and_explains(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(path)]) == 0
    assert f"{path}: valid" in capsys.readouterr().out

    job = the(path.stem)
    assert job.metadata.name == path.stem
    assert "spec.algorithm.outcomeReward.correct" in explain(job)


@pytest.mark.parametrize("path", ON_A_CPU, ids=lambda path: path.stem)
def test_a_cpu_example_asks_for_nothing_that_a_laptop_lacks(path: Path) -> None:
    spec = the(path.stem).spec

    assert (spec.model.builtin, spec.rollout.engine) == ("arithmetic", "local")
    assert spec.learner.backend.local is not None
    assert spec.training.steps <= 60


def test_every_preset_has_an_example_for_the_cpu() -> None:
    assert {the(path.stem).spec.algorithm.preset for path in ON_A_CPU} == set(get_args(Preset))


def test_every_manifest_for_a_cluster_is_compared_with_its_paper() -> None:
    assert PUBLISHED.keys() == {path.stem for path in FILES} - {path.stem for path in ON_A_CPU}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_cluster_s_manifest_has_the_published_sizes(name: str) -> None:
    assert sizes_of(the(name)) == ast.literal_eval(f"({PUBLISHED[name]})")


@pytest.mark.parametrize(
    ("name", "targets"),
    [("math-laser", 8192), ("math-laser-7b", 8192), ("math-laser-d", 4096), ("math-laser-de-7b", 4096)],
)
def test_laser_s_targets_are_those_of_its_table(name: str, targets: int) -> None:
    spec = the(name).spec.algorithm.length_reward

    assert spec is not None
    variant = spec.variant.model_dump()
    assert variant.get("target_tokens", variant.get("lowest_tokens")) == targets
    assert (variant["alpha"], variant.get("monitor_prompts", 500), variant.get("monitor_every", 20)) == (0.5, 500, 20)

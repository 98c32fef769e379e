"""A job of adapters, run as a user runs it: it trains, publishes, and goes on."""

import math
from pathlib import Path

import pytest
from safetensors.torch import load_file

from e2e.running import EXAMPLE, committed_history, newest_checkpoint, output, result, run_to_end, start
from rlvr_trainer.models import builtin_path
from rlvr_trainer.storage.policies import verify_policy

JOB = EXAMPLE.with_name("arithmetic-lora-cpu.yaml")
SHORT = (
    "spec.algorithm.preset=grpo",
    "spec.training.promptsPerStep=8",
    "spec.data.eval.procedural.size=16",
    "spec.checkpoint.every=2",
)
FOUR, SIX = (*SHORT, "spec.training.steps=4"), (*SHORT, "spec.training.steps=6")


def policy_of(folder: Path) -> Path:
    """The last one."""
    return folder / "work" / "policies" / str(result(folder)["policy"])


@pytest.mark.timeout(900)
def test_a_job_of_adapters_goes_on_where_it_ended_and_ends_as_if_it_had_not(tmp_path: Path) -> None:
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    run_to_end(straight, *SIX, job=JOB)
    run_to_end(resumed, *FOUR, job=JOB)
    run_to_end(resumed, *SIX, job=JOB)

    assert "going on from step 4" in output(resumed)
    assert policy_of(resumed).name == policy_of(straight).name, "the same bytes"
    assert all(math.isfinite(value) for one in committed_history(resumed) for value in one.metrics.values())
    assert all(".lora_" in name for name in load_file(newest_checkpoint(resumed) / "model.safetensors"))


@pytest.mark.timeout(900)
def test_adapters_learn_and_the_policy_is_the_base_model_plus_those_beside_it(tmp_path: Path) -> None:
    found = run_to_end(tmp_path / "run", job=JOB)
    assert found["evalAccuracyAfter"] - found["evalAccuracyBefore"] >= 0.25

    folder, base = policy_of(tmp_path / "run"), load_file(builtin_path("arithmetic") / "model.safetensors")
    verify_policy(folder)
    merged = load_file(folder / "model.safetensors")
    matrices = load_file(folder / "adapter" / "adapter_model.safetensors")
    changed = {name for name, weight in merged.items() if (weight != base[name]).any()}

    assert merged.keys() == base.keys()
    assert {f"base_model.model.{name.removesuffix('.weight')}.lora_A.weight" for name in changed} <= matrices.keys()
    assert len(changed) == len(matrices) / 2


def test_other_adapters_are_another_job(tmp_path: Path) -> None:
    run_to_end(tmp_path / "run", *SHORT, "spec.training.steps=1", job=JOB)
    code = start(tmp_path / "run", *FOUR, "spec.training.lora.rank=4", job=JOB).wait(60)

    assert code == 64
    assert "training.lora.rank" in output(tmp_path / "run")

"""Laser-D's targets follow the policy, and a run that is killed between two measurements ends as one that was not."""

from pathlib import Path

import pytest

from e2e.running import (
    committed_history,
    committed_state,
    kill_everything,
    newest_checkpoint,
    prove_exactly_once,
    run_to_end,
    start,
    wait_until,
)

LASER_D = "spec.algorithm.lengthReward.laserD"
SETTINGS = (
    "spec.algorithm.preset=laserD",
    f"{LASER_D}.lowestTokens=4",
    f"{LASER_D}.gridStep=2",
    f"{LASER_D}.monitorPrompts=12",
    f"{LASER_D}.monitorEvery=4",
    "spec.training.steps=10",
    "spec.training.promptsPerStep=8",
    "spec.training.groupSize=4",
    "spec.training.maxStaleness=0",
    "spec.data.eval.procedural.size=16",
    "spec.checkpoint.every=3",
)


@pytest.mark.timeout(300)
def test_a_killed_run_goes_on_with_the_same_targets_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_to_end(whole, *SETTINGS)
    process = start(broken, *SETTINGS)
    wait_until((broken / "checkpoints" / "step-000006" / "READY").exists, seconds=120)
    kill_everything(broken, process)
    run_to_end(broken, *SETTINGS)

    prove_exactly_once(broken, steps=10, prompts_per_step=8)
    targets = [report.length_targets for report in committed_history(whole)]
    assert all(set(found) == {"hard", "medium", "easy"} for found in targets)
    assert [report.length_targets for report in committed_history(broken)] == targets
    assert committed_state(broken).monitoring == committed_state(whole).monitoring
    assert committed_state(whole).monitoring.step == 8  # type: ignore[union-attr]
    assert (newest_checkpoint(broken) / "model.safetensors").read_bytes() == (
        newest_checkpoint(whole) / "model.safetensors"
    ).read_bytes()

"""The README's job, run as a user runs it."""

from pathlib import Path

import pytest

from e2e.running import committed_history, prove_exactly_once, role_processes, run_to_end

SHORT = (
    "spec.training.steps=4",
    "spec.training.promptsPerStep=8",
    "spec.data.eval.procedural.size=16",
    "spec.checkpoint.every=2",
)


@pytest.mark.timeout(600)
def test_the_example_learns_to_solve_held_out_problems(tmp_path: Path) -> None:
    result = run_to_end(tmp_path / "run")

    assert result["evalAccuracyAfter"] - result["evalAccuracyBefore"] >= 0.25
    assert result["steps"] == len(committed_history(tmp_path / "run"))
    assert not role_processes(tmp_path / "run")
    assert "http" not in (tmp_path / "run" / "report.html").read_text().split("<body", 1)[0]


def test_an_asynchronous_run_never_trains_on_a_policy_older_than_its_bound(tmp_path: Path) -> None:
    run_to_end(tmp_path / "run", *SHORT, "spec.training.steps=6", "spec.training.maxStaleness=2")

    lags = [report.metrics["rlvr_learner_staleness_steps_max"] for report in committed_history(tmp_path / "run")]
    assert max(lags) <= 2


def test_two_rollouts_and_two_judges_share_the_work(tmp_path: Path) -> None:
    run_to_end(tmp_path / "run", *SHORT, "spec.rollout.replicas=2", "spec.reward.replicas=2")

    prove_exactly_once(tmp_path / "run", steps=4, prompts_per_step=8)

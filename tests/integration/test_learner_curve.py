"""`rlvr run` with two ranks of DeepSpeed draws the curve that plain torch draws."""

from pathlib import Path

import pytest

from e2e.running import committed_history, prove_exactly_once, run_to_end

pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")
SHORT = (
    "spec.training.steps=3",
    "spec.training.promptsPerStep=8",
    "spec.training.minibatches=2",
    "spec.data.eval.procedural.size=8",
    "spec.checkpoint.every=3",
)
TWO_RANKS = (
    "spec.learner.gpusPerNode=2",
    "spec.learner.backend.deepspeed.zeroStage=3",
    "spec.training.packing=true",
)
CURVES = ("rlvr_learner_loss", "rlvr_learner_reward_mean", "rlvr_learner_entropy_nats", "rlvr_learner_gradient_norm")


@pytest.mark.timeout(2400)
def test_both_backends_draw_the_same_curve(tmp_path: Path) -> None:
    """What the policies sample is what they are trained on, so that a difference anywhere would grow."""
    results = [
        run_to_end(tmp_path / name, *SHORT, *settings, timeout=1000)
        for name, settings in (("local", ()), ("deepspeed", TWO_RANKS))
    ]
    alone, ranks = (committed_history(tmp_path / name) for name in ("local", "deepspeed"))

    assert len(alone) == len(ranks) == 3
    for name in CURVES:
        assert [step.metrics[name] for step in ranks] == pytest.approx(
            [step.metrics[name] for step in alone], rel=1e-3, abs=1e-5
        ), name
    assert results[0]["evalAccuracyAfter"] == results[1]["evalAccuracyAfter"]
    prove_exactly_once(tmp_path / "deepspeed", steps=3, prompts_per_step=8)

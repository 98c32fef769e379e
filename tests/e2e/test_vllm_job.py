"""The README's job with vLLM in place of the local engine."""

import importlib.util
import re
from pathlib import Path

import pytest

from e2e.running import committed_history, output, prove_exactly_once, role_processes, run_to_end
from rlvr_trainer.storage.signatures import TOLERANCES

STEPS, PROMPTS = 6, 16
SETTINGS = (
    "spec.rollout.engine=vllm",
    f"spec.training.steps={STEPS}",
    f"spec.training.promptsPerStep={PROMPTS}",
    "spec.training.optimizer.learningRate=0.0004",
    "spec.rollout.maxConcurrent=128",
    "spec.data.eval.procedural.size=64",
    "spec.checkpoint.every=3",
)
PROBED = re.compile(r"policy (\d+)-[0-9a-f]{12}: engine and learner differ by (\S+) nats")


@pytest.mark.timeout(1200)
def test_the_example_learns_with_vllm_and_every_update_is_proven(tmp_path: Path) -> None:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is missing: make setup-vllm")
    run = tmp_path / "run"
    result = run_to_end(run, *SETTINGS, timeout=1100)

    prove_exactly_once(run, steps=STEPS, prompts_per_step=PROMPTS)
    rewards = [report.metrics["rlvr_learner_reward_mean"] for report in committed_history(run)]
    assert rewards[-1] > rewards[0], rewards
    assert result["evalAccuracyAfter"] > result["evalAccuracyBefore"], output(run)[-2000:]
    gaps = {int(step): float(gap) for log in (run / "logs").iterdir() for step, gap in PROBED.findall(log.read_text())}
    assert set(gaps) == set(range(STEPS + 1))
    assert max(gaps.values()) <= TOLERANCES["float32"], gaps
    assert not role_processes(run)

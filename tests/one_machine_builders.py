"""Records of a run with good defaults."""

from typing import Any

from rlvr_api import Progress
from rlvr_trainer.one_machine.state import Life, Member, Rule
from rlvr_trainer.one_machine.view import View
from rlvr_trainer.samples import StepReport

MEMBERS = {
    "reward-0": Member(rule=Rule.REPLACE, life=Life.RUNNING),
    "rollout-0-engine": Member(rule=Rule.REPLACE, life=Life.WAITING, exits=(1.0,)),
    "learner-0": Member(rule=Rule.ATTEMPT, life=Life.RUNNING),
}


def a_progress(*, step: int = 7, **fields: Any) -> Progress:
    known = {
        "attempt": 0,
        "step": step,
        "total_steps": 60,
        "policy": f"{step}-3fa2c1d09b7e",
        "reward": 0.25,
        "accuracy": 0.625,
        "completion_tokens_mean": 31.5,
        "entropy": 0.12,
        "tokens_per_second": 5461.0,
        "eta_seconds": 90.0,
        "activity": f"gathering step {step + 1}: 3 of 32 groups",
        "updated_at": 0.0,
    }
    return Progress(**{**known, **fields})


def a_view(progress: Progress | None, *, elapsed: float) -> View:
    return View(
        job="test",
        total_steps=60,
        elapsed=elapsed,
        unix_time=1000.0,
        attempt=0,
        members=MEMBERS,
        progress=progress,
    )


def a_report(step: int, **metrics: float) -> StepReport:
    """A step that took 2 s, of which the learner had 0.5: 16 completions of 10 tokens at 320 tokens/s."""
    values = {
        "rlvr_learner_accuracy_ratio": min(0.1 * step, 1.0),
        "rlvr_learner_completion_tokens_mean": 10.0,
        "rlvr_learner_train_tokens_per_second": 320.0,
        **{f"rlvr_learner_{name}": value for name, value in metrics.items()},
    }
    return StepReport(step=step, metrics=values, trained=((4 * step, 4 * step + 4),), finished_at=2.0 * step)

"""What people and the operator are told: Progress while it runs, result.json at the end.  Pure, plus one write.

A value nobody knows yet is absent; so is accuracy where there are no held-out prompts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from rlvr_api import CheckpointProgress, Progress
from rlvr_trainer.coordinator.exchange import Policy
from rlvr_trainer.coordinator.ledger import num_positions
from rlvr_trainer.samples import CoordinatorState, Evaluation, Fate, StepReport
from rlvr_trainer.wire import to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Everything that progress is made of, at one moment."""

    attempt: int
    total_steps: int
    closed_steps: int
    """Steps whose batch is closed."""
    prompts_per_step: int
    policy: Policy
    report: StepReport | None
    state: CoordinatorState
    tokens_per_second: float | None
    num_waiting: int
    num_rollouts_ready: int
    activity: str | None
    checkpoint: CheckpointProgress
    now: float
    """Unix seconds."""


class Result(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a finished job leaves in result.json."""

    steps: int
    eval_accuracy_before: float | None
    eval_accuracy_after: float | None
    tokens: int
    """Completion tokens sampled for training, dropped groups included."""
    wall_seconds: float
    trained: int
    """Groups."""
    dropped: dict[Fate, int]
    """Groups, by fate."""
    policy: str
    """Label of the last policy."""
    evaluations: tuple[Evaluation, ...]


def progress_of(known: Known) -> Progress:
    """What is known, in the words of the API."""
    metrics = known.report.metrics if known.report is not None else {}
    newest = known.state.evaluations[-1] if known.state.evaluations else None
    return Progress(
        attempt=known.attempt,
        step=known.policy.step,
        total_steps=known.total_steps,
        policy=known.policy.label,
        reward=metrics.get("rlvr_learner_reward_mean"),
        accuracy=metrics.get("rlvr_learner_accuracy_ratio"),
        eval_accuracy=newest.accuracy if newest else None,
        eval_step=newest.step if newest else None,
        completion_tokens_mean=metrics.get("rlvr_learner_completion_tokens_mean"),
        entropy=metrics.get("rlvr_learner_entropy_nats"),
        tokens_per_second=known.tokens_per_second,
        generated_tokens=known.state.generated_tokens,
        dropped_groups={fate.value: number for fate, number in _dropped(known.state).items()},
        length_targets=known.state.length_targets,
        rollouts_ready=known.num_rollouts_ready,
        eta_seconds=_eta(known),
        activity=_activity(known),
        checkpoint=known.checkpoint,
        updated_at=known.now,
    )


def result_of(state: CoordinatorState, *, policy: Policy, wall_seconds: float) -> Result:
    """The end of the story, in numbers."""
    accuracy = {evaluation.step: evaluation.accuracy for evaluation in state.evaluations}
    return Result(
        steps=policy.step,
        eval_accuracy_before=accuracy.get(0),
        eval_accuracy_after=accuracy.get(policy.step),
        tokens=state.generated_tokens,
        wall_seconds=wall_seconds,
        trained=num_positions(state.ledger, Fate.TRAINED),
        dropped=_dropped(state),
        policy=policy.label,
        evaluations=state.evaluations,
    )


def write_result(result: Result, *, folder: Path) -> None:
    """result.json, whole or not at all."""
    draft = folder / "result.json.tmp"
    draft.write_bytes(msgspec.json.format(to_json(result), indent=1))
    draft.replace(folder / "result.json")


def _dropped(state: CoordinatorState) -> dict[Fate, int]:
    numbers = {fate: num_positions(state.ledger, fate) for fate in Fate if fate is not Fate.TRAINED}
    return {fate: number for fate, number in numbers.items() if number}


def _eta(known: Known) -> float | None:
    """Remaining steps at the mean pace so far; unknown before the first batch."""
    if known.closed_steps == 0:
        return None
    return (known.total_steps - known.policy.step) * known.state.wall_seconds / known.closed_steps


def _activity(known: Known) -> str:
    if known.activity is not None:
        return known.activity
    if known.checkpoint.is_waiting:
        return "waiting for the checkpoint store"
    if known.policy.step == known.total_steps:
        return "done"
    if known.num_rollouts_ready == 0:
        return f"waiting for a rollout with policy {known.policy.label}"
    if known.closed_steps > known.policy.step and known.num_waiting == 0:
        return f"training step {known.policy.step + 1}"
    return f"gathering step {known.closed_steps + 1}: {known.num_waiting} of {known.prompts_per_step} groups"

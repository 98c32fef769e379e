"""What a step found, by metric name (metrics.py).  A value that was not measured, or is no number, is absent."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from rlvr_trainer.algorithms.correction import mismatch_kl
from rlvr_trainer.algorithms.recipe import Recipe
from rlvr_trainer.learner.step import Findings, Stage
from rlvr_trainer.samples import Finish, StepFacts

_STATM: Final = Path("/proc/self/statm")
_PAGE_BYTES: Final = 4096


def metrics_of(facts: StepFacts, findings: Findings, recipe: Recipe, *, learning_rate: float) -> dict[str, float]:
    """All that can be said about a step but its speed."""
    values = {
        "rlvr_learner_step": float(facts.step),
        "rlvr_learner_learning_rate": learning_rate,
        "rlvr_learner_staleness_steps_max": float(facts.step - 1 - min(one.group.oldest_step for one in facts.groups)),
        **dict(_of_completions(facts)),
        **dict(_of_start(findings.stage, recipe)),
        **dict(_of_updates(findings)),
    }
    return {name: value for name, value in values.items() if math.isfinite(value)}


def metrics_of_process(*, num_tokens: int, seconds: float) -> dict[str, float]:
    """Speed and size; no part of them enters a checkpoint's weights."""
    speed = {"rlvr_learner_train_tokens_per_second": num_tokens / seconds}
    if not _STATM.exists():
        return speed
    return speed | {"rlvr_learner_resident_bytes": float(int(_STATM.read_text().split()[1]) * _PAGE_BYTES)}


def num_tokens_of(facts: StepFacts) -> int:
    """Completion tokens."""
    return sum(len(completion.token_ids) for one in facts.groups for completion in one.group.completions)


def _of_completions(facts: StepFacts) -> Iterator[tuple[str, float]]:
    completions = [completion for one in facts.groups for completion in one.group.completions]
    lengths = [len(completion.token_ids) for completion in completions]
    yield "rlvr_learner_accuracy_ratio", facts.num_correct / facts.num_judged
    yield "rlvr_learner_completion_tokens_mean", sum(lengths) / len(lengths)
    yield "rlvr_learner_completion_tokens_max", float(max(lengths))
    yield "rlvr_learner_truncated_ratio", sum(c.finish is Finish.LENGTH for c in completions) / len(completions)


def _of_start(stage: Stage, recipe: Recipe) -> Iterator[tuple[str, float]]:
    batch, start, num_tokens = stage.batch, stage.start, stage.batch.num_tokens
    # In double precision: the estimate of nearly equal numbers drowns in float32's rounding and may come out negative.
    _, third = mismatch_kl(start.logprob_BT.double(), batch.sampling_BT.double(), batch.mask_BT)
    yield "rlvr_learner_reward_mean", float(batch.reward_PG.mean())
    yield "rlvr_learner_entropy_nats", _mean(start.entropy_BT, batch.mask_BT)
    yield "rlvr_learner_mismatch_kl_nats", float(third) / num_tokens
    yield "rlvr_learner_selected_tokens_ratio", int(stage.choice.selected_BT.sum()) / num_tokens
    if recipe.importance_weights is not None:
        weights_BT = recipe.importance_weights(start.logprob_BT - batch.sampling_BT, batch.mask_BT)
        yield "rlvr_learner_importance_weight_mean", _mean(weights_BT, batch.mask_BT)


def _of_updates(findings: Findings) -> Iterator[tuple[str, float]]:
    updates = findings.updates
    num_selected = max(sum(update.num_selected for update in updates), 1)
    yield "rlvr_learner_loss", sum(update.loss for update in updates) / len(updates)
    yield "rlvr_learner_gradient_norm", sum(update.gradient_norm for update in updates) / len(updates)
    yield "rlvr_learner_clipped_ratio", sum(update.num_clipped for update in updates) / num_selected
    yield "rlvr_learner_dual_clipped_ratio", sum(update.num_dual_clipped for update in updates) / num_selected
    if all(update.kl_nats is not None for update in updates):
        num_tokens = sum(update.num_tokens for update in updates)
        yield "rlvr_learner_kl_reference_nats", sum(update.kl_nats or 0.0 for update in updates) / num_tokens


def _mean(values_BT: Tensor, mask_BT: Tensor) -> float:
    return float(torch.where(mask_BT, values_BT, 0.0).sum() / mask_BT.sum())

"""What a step found, as keys and values of a StepReport (metrics.py).

A value that was not measured, or is no number, is absent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import torch

from rlvr_trainer.algorithms.correction import mismatch_kl
from rlvr_trainer.algorithms.recipe import Recipe
from rlvr_trainer.learner.batching import answers_of
from rlvr_trainer.learner.certainty import of_entropy
from rlvr_trainer.learner.outcomes import of_facts
from rlvr_trainer.learner.step import Findings, Stage, Update
from rlvr_trainer.learner.tally import Counts
from rlvr_trainer.metrics import labelled
from rlvr_trainer.samples import StepFacts

_STATM: Final = Path("/proc/self/statm")
_PAGE_BYTES: Final = 4096

Found = Iterator[tuple[str, float]]


def metrics_of(facts: StepFacts, findings: Findings, recipe: Recipe, *, learning_rate: float) -> dict[str, float]:
    """All that can be said about a step but its speed."""
    values = {
        "rlvr_learner_step": float(facts.step),
        "rlvr_learner_learning_rate": learning_rate,
        "rlvr_learner_staleness_steps_max": float(facts.step - 1 - min(one.group.oldest_step for one in facts.groups)),
        **dict(of_facts(facts)),
        **dict(of_entropy(findings.stage, recipe)),
        **dict(_of_batch(facts, findings.stage, recipe)),
        **dict(_of_updates(findings.updates)),
    }
    if recipe.needs_entropy:
        values |= dict(_of_classes(findings.updates))
    return {name: value for name, value in values.items() if math.isfinite(value)}


def metrics_of_process(*, num_tokens: int, seconds: float) -> dict[str, float]:
    """Speed and size; no part of them enters a checkpoint's weights."""
    speed = {"rlvr_learner_train_tokens_per_second": num_tokens / seconds}
    if not _STATM.exists():
        return speed
    return speed | {"rlvr_learner_resident_bytes": float(int(_STATM.read_text().split()[1]) * _PAGE_BYTES)}


def _of_batch(facts: StepFacts, stage: Stage, recipe: Recipe) -> Found:
    batch, start, num_tokens = stage.batch, stage.start, stage.batch.num_tokens
    # In double precision: the estimate of nearly equal numbers drowns in float32's rounding and may come out negative.
    _, third = mismatch_kl(start.logprob_BT.double(), batch.sampling_BT.double(), batch.mask_BT)
    yield "rlvr_learner_reward_mean", float(batch.reward_PG.mean())
    yield "rlvr_learner_mismatch_kl_nats", float(third) / num_tokens
    yield "rlvr_learner_selected_tokens_ratio", int(stage.choice.selected_BT.sum()) / num_tokens
    if recipe.importance_weights is not None:
        weights_BT = recipe.importance_weights(start.logprob_BT - batch.sampling_BT, batch.mask_BT)
        weight = torch.where(batch.mask_BT, weights_BT, 0.0).sum() / num_tokens
        yield "rlvr_learner_importance_weight_mean", float(weight)
    if recipe.emphasis is not None:
        yield "rlvr_learner_mgpo_weight_mean", float(recipe.emphasis(answers_of(facts.groups).correct_PG).mean())


def _of_updates(updates: Sequence[Update]) -> Found:
    whole = _sum([update.whole for update in updates])
    num_selected = max(whole.num_selected, 1)
    yield "rlvr_learner_loss", sum(update.loss for update in updates) / len(updates)
    yield "rlvr_learner_gradient_norm", sum(update.gradient_norm for update in updates) / len(updates)
    yield "rlvr_learner_clipped_ratio", whole.num_clipped / num_selected
    yield "rlvr_learner_dual_clipped_ratio", whole.num_dual / num_selected
    for bound, stopped in (("lower", whole.num_lower), ("upper", whole.num_upper)):
        yield labelled("rlvr_learner_clipped_by_bound_ratio", bound=bound), stopped / num_selected
    if whole.kl_nats is not None:
        yield "rlvr_learner_kl_reference_nats", whole.kl_nats / whole.num_tokens


def _of_classes(updates: Sequence[Update]) -> Found:
    for name, counts in (("high", _sum([one.high for one in updates])), ("low", _sum([one.low for one in updates]))):
        of_class = {"class": name}
        if counts.num_selected:
            stopped = {"lower": counts.num_lower, "upper": counts.num_upper, "dual": counts.num_dual}
            for bound, number in stopped.items():
                key = labelled("rlvr_learner_clipped_by_class_ratio", bound=bound, **of_class)
                yield key, number / counts.num_selected
        if counts.num_tokens and counts.kl_nats is not None:
            yield labelled("rlvr_learner_kl_reference_by_class_nats", **of_class), counts.kl_nats / counts.num_tokens


def _sum(counts: Sequence[Counts]) -> Counts:
    first, *others = counts
    for other in others:
        first += other
    return first
